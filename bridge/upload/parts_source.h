#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "bridge/net/body_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// Of a file, as UploadFileHeader.segment_count has it; and of a segment, which says its size in 32
// bits.
inline constexpr uint64_t kMaxSegments = 65'535;
inline constexpr uint64_t kMaxSegmentSize = 0xFFFF'FFFF;

// Where a file in parts comes from. What it refers to must outlive its sources.
struct PartsInput {
  Connection& connection;
  const wire::Dialect& dialect;
  // Each message is filled up to a multiple of so many bytes; 1: it is not.
  uint64_t message_multiple = 1;
  BodyLimits limits;
  BodyBudget& budget;
};

// The content of a file that comes in parts: those after the first are read, decoded and checked
// here as they come. What it yields is one ciphertext, or segments as UploadFileHeader describes
// them, if each part is encrypted on its own. Errors: as BodySource, and InvalidArgument, naming
// the rule, for a part that does not follow the one before it. Used by one thread at a time.
class PartsSource : public Body {
 public:
  PartsSource(const PartsSource&) = delete;
  PartsSource& operator=(const PartsSource&) = delete;

  absl::StatusOr<absl::string_view> Read() final;
  uint64_t left() const final;
  // Without the heads of parts.
  uint64_t received_bytes() const final { return received_bytes_; }
  const absl::Status& status() const final { return status_; }

 protected:
  // `first` is a decoded SendFile whose body has not been read; the derived class begins that.
  PartsSource(const PartsInput& input, const wire::DecodedHead& first);

  // Whether the present part is the last.
  virtual bool is_last() const = 0;
  // Begins the next part, of which nothing was read yet.
  virtual absl::Status BeginNext() = 0;
  // The present part was read to its end.
  virtual absl::Status EndPart() = 0;

  // Begins a part of `message_size` bytes on the wire, `body_size` of them still to come, which
  // continue the content; padding follows.
  void BeginPart(uint64_t message_size, uint64_t body_size);
  // The same of a part whose next `content_size` bytes are a segment, and whose others are dropped.
  absl::Status BeginSegment(uint64_t message_size, uint64_t body_size, uint64_t content_size);
  // The head of the next part, which the same client must have sent for the same file.
  absl::StatusOr<wire::DecodedHead> ReadNextHead();
  // Reads the body of a part that is not wanted, and its padding.
  absl::Status Skip(const wire::DecodedHead& part);

  const wire::SendFile& first_file() const { return first_file_; }
  // What the parts still have to bring of the one ciphertext, or of the present segment.
  uint64_t content_left() const { return content_left_; }
  void set_content_left(uint64_t size) { content_left_ = size; }
  void set_status(absl::Status status) { status_ = std::move(status); }

 private:
  // The body of a part, with the padding behind it.
  std::unique_ptr<BodySource> OpenPart(uint64_t message_size, uint64_t body_size) const;
  // Fills buffer_ as far as pieces go; empty at the end.
  absl::Status Fill();
  // Takes bytes of the present part into buffer_; begins the next one at its end.
  absl::Status TakePiece();
  // Whether the client was fast enough in the time that was spent waiting for it.
  absl::Status CheckRate(absl::Duration waited);
  // The head at the front of the connection, which stays there.
  absl::StatusOr<wire::DecodedHead> PeekHead();
  absl::StatusOr<std::optional<wire::DecodedHead>> DecodeHead(absl::string_view bytes) const;
  // Whether that is one of this file.
  absl::Status CheckIsPart(const wire::DecodedHead& head) const;

  const PartsInput input_;
  const wire::DecodedHead first_;
  const wire::SendFile& first_file_;  // In first_.
  std::unique_ptr<BodySource> part_;  // What is left of it.
  uint64_t body_left_ = 0;            // Of it: what else comes is padding.
  uint64_t content_left_ = 0;         // The same of the content.
  bool segment_begins_ = false;
  absl::Duration waited_;
  uint64_t received_bytes_ = 0;
  std::string buffer_;
  absl::Status status_;
};

}  // namespace backup::bridge
