#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bridge/net/body_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// The content of a file that comes in parts, each a request of its own on the connection: those
// after the first are read, decoded and checked here as they come. What it yields is one
// ciphertext, or segments as UploadFileHeader describes them, if each part is encrypted on its own.
// Errors: as BodySource, and InvalidArgument, naming the rule, for a part that does not follow the
// one before it. Used by one thread at a time.
class PartsSource : public Body {
 public:
  // Of all parts so far, with their padding.
  uint64_t received_bytes() const { return received_bytes_; }

  absl::StatusOr<absl::string_view> Read() final;
  uint64_t left() const final;
  const absl::Status& status() const final { return status_; }

 protected:
  // `first` is a decoded SendFile whose body has not been read; the derived class begins that.
  PartsSource(Connection& connection, const wire::Dialect& dialect, const wire::DecodedHead& first,
              const BodyLimits& limits, BodyBudget& budget);

  // Whether the present part is the last.
  virtual bool is_last() const = 0;
  // Begins the next part, whose head was not read yet.
  virtual absl::Status BeginNext() = 0;
  // The present part was read to its end.
  virtual absl::Status EndPart() = 0;

  // Begins a part whose body has this many bytes, which continue the content ...
  void BeginPart(uint64_t body_size);
  // ... or whose first bytes are the next segment; the rest is padding.
  void BeginSegment(uint64_t body_size, uint64_t segment_size);
  // The head of the next request, which the same client must have sent for the same file.
  absl::StatusOr<wire::DecodedHead> ReadNextHead();
  // Reads the body of a part that is not wanted.
  absl::Status Skip(uint64_t body_size);
  // Whether the next request, if its head comes within `timeout`, is one more part of the file.
  bool MoreFollows(absl::Duration timeout);

  const wire::SendFile& first_file() const { return first_file_; }
  // What the parts still have to bring of the one ciphertext, or of the present segment.
  uint64_t content_left() const { return content_left_; }
  void set_content_left(uint64_t size) { content_left_ = size; }
  void set_status(absl::Status status) { status_ = std::move(status); }

 private:
  // Fills buffer_ as far as pieces go; empty at the end.
  absl::Status Fill();
  // Takes bytes of the present part into buffer_; begins the next one at its end.
  absl::Status TakePiece();
  // Whether the client was fast enough in the time that was spent waiting for it.
  absl::Status CheckRate(absl::Duration waited);
  // The head at the front of the connection, which stays there. Waits at most `timeout` for more of
  // it.
  absl::StatusOr<wire::DecodedHead> PeekHead(absl::Duration timeout);
  // Whether that is one of this file.
  absl::Status CheckIsPart(const wire::DecodedHead& head) const;

  Connection& connection_;
  const wire::Dialect& dialect_;
  const ClientId client_id_;
  const wire::SendFile first_file_;
  const BodyLimits limits_;
  BodyBudget& budget_;
  std::unique_ptr<BodySource> part_;  // What is left of it.
  uint64_t content_left_ = 0;         // What else comes is padding.
  bool segment_begins_ = false;
  absl::Duration waited_;
  uint64_t received_bytes_ = 0;
  std::string buffer_;
  absl::Status status_;
};

}  // namespace backup::bridge
