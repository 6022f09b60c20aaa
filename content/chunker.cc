#include "content/chunker.h"

#include <algorithm>
#include <optional>

namespace backup::content {
namespace {

constexpr size_t kWindow = RollingHash::kWindow;

// A chunk ends if the hash is below this. In noise that is so once in 8 MiB before
// kNormalChunkSize, and once in 128 KiB behind it.
constexpr uint32_t kStrict = uint32_t{1} << (32 - 23);
constexpr uint32_t kLoose = uint32_t{1} << (32 - 17);

// Sizes of the chunk, up to `end`, at which it ends below the same threshold.
struct Stretch {
  size_t end;
  uint32_t threshold;
};
constexpr Stretch kStretches[] = {
    {kMinChunkSize, 0}, {kNormalChunkSize, kStrict}, {kMaxChunkSize, kLoose}};

}  // namespace

size_t Chunker::Take(absl::string_view bytes) {
  size_t taken = 0;
  if (size_ < kMinChunkSize - kWindow) {
    taken = std::min(bytes.size(), kMinChunkSize - kWindow - size_);
    size_ += taken;
  }
  for (const Stretch& stretch : kStretches) {
    if (size_ + 1 >= stretch.end) continue;
    const absl::string_view part = bytes.substr(taken, stretch.end - 1 - size_);
    const std::optional<size_t> found = hash_.FindBelow(part, stretch.threshold);
    taken += found.value_or(part.size());
    size_ = found ? 0 : size_ + part.size();
    if (found) break;
  }
  if (size_ + 1 == kMaxChunkSize && taken < bytes.size()) {
    ++taken;
    size_ = 0;
  }
  if (ended()) hash_.Reset();
  return taken;
}

}  // namespace backup::content
