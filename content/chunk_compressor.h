#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "content/compression.h"

namespace backup::content {

// Decides, one chunk of a content after the other, whether it is compressed now. Used by one thread
// at a time.
class ChunkCompressor {
 public:
  explicit ChunkCompressor(const CompressionPolicy& policy) : policy_(policy) {}

  struct Result {
    std::optional<std::string> frame;  // Nothing: it is kept as it is,
    bool waits = false;                // for now.
  };
  // `waited`: for how long the content's sender has been waited for so far. With kAuto no more time
  // is spent than that.
  Result Compress(std::span<const absl::string_view> parts, absl::Duration waited);

 private:
  const CompressionPolicy policy_;
  absl::Duration spent_;
  double seconds_per_byte_ = 5e-9;  // About what level 3 takes; then as measured.
};

}  // namespace backup::content
