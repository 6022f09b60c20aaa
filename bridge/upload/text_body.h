#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bridge/net/body_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// Decodes ciphertext that comes as text, in pieces that are cut anywhere. Base64 has padding (RFC
// 4648, section 4) and perhaps line breaks; hexadecimal digits may be of either case. Used by one
// thread at a time.
class TextDecoder {
 public:
  // Of kHex or kBase64. `has_lines`: whether line breaks may be anywhere.
  explicit TextDecoder(wire::TextEncoding text, bool has_lines = false)
      : text_(text), has_lines_(has_lines) {}

  // Appends what `piece` adds to `out`, at most as many bytes as it has. InvalidArgument, naming
  // the rule and where it is broken, for what is no such text.
  absl::Status Append(absl::string_view piece, std::string& out);
  // No more comes: InvalidArgument if something is missing.
  absl::Status Finish() const;

 private:
  // Whether they go on with the text that came before.
  absl::Status TakeCharacters(absl::string_view piece);

  const wire::TextEncoding text_;
  const bool has_lines_;
  uint64_t offset_ = 0;     // Of the next piece, without line breaks.
  std::string undecoded_;   // Characters whose group is not whole: fewer than 4.
  bool has_ended_ = false;  // With padding.
};

// A body that comes as text, decoded as it passes. Errors: the body's, and InvalidArgument as
// TextDecoder. Used by one thread at a time.
class TextBody final : public Body {
 public:
  TextBody(std::unique_ptr<Body> body, wire::TextEncoding text, bool has_lines = false)
      : body_(std::move(body)), decoder_(text, has_lines) {}

  absl::StatusOr<absl::string_view> Read() override;
  uint64_t left() const override { return body_->left(); }
  uint64_t received_bytes() const override { return body_->received_bytes(); }
  const absl::Status& status() const override { return status_; }

 private:
  // The next bytes into buffer_; none at the end.
  absl::Status Fill();

  const std::unique_ptr<Body> body_;
  TextDecoder decoder_;
  std::string buffer_;
  absl::Status status_;
};

}  // namespace backup::bridge
