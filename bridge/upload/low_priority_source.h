#pragma once

#include <cstdint>

#include "base/byte_stream.h"
#include "base/low_priority_thread.h"

namespace backup::bridge {

// Another source. The thread that has read much of it gives way to all others: a large body can
// wait for a moment, a small request should not. Used by one thread at a time.
class LowPrioritySource final : public ByteSource {
 public:
  // `source` must outlive this.
  explicit LowPrioritySource(ByteSource& source) : source_(source) {}

  absl::StatusOr<absl::string_view> Read() override {
    if (read_bytes_ >= kLowPriorityMinSize) BecomeLowPriority();
    absl::StatusOr<absl::string_view> piece = source_.Read();
    if (piece.ok()) read_bytes_ += static_cast<int64_t>(piece->size());
    return piece;
  }
  SharedPiece Share(absl::string_view piece) override { return source_.Share(piece); }

 private:
  ByteSource& source_;
  int64_t read_bytes_ = 0;
};

}  // namespace backup::bridge
