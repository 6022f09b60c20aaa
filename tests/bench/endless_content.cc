#include "tests/bench/endless_content.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace backup::bench {
namespace {

constexpr size_t kBufferSize = 16 << 20;
constexpr size_t kAlignment = 64;  // Of pieces: a cache line.

absl::string_view Buffer() {
  static const std::vector<uint64_t>& numbers = *[] {
    auto* const filled = new std::vector<uint64_t>(kBufferSize / sizeof(uint64_t));
    std::mt19937_64 random(1);
    std::generate(filled->begin(), filled->end(), random);
    return filled;
  }();
  return {reinterpret_cast<const char*>(numbers.data()), kBufferSize};
}

}  // namespace

uint64_t EndlessContent::NewNumber() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

absl::string_view EndlessContent::Next() {
  constexpr size_t kPlaces = (kBufferSize - kPieceSize) / kAlignment;
  return Buffer().substr(random_() % kPlaces * kAlignment, kPieceSize);
}

}  // namespace backup::bench
