#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "content/store_keys.h"

namespace backup::content {

// The gear hash: each byte shifts those before it by a bit and adds its number, so that the hash
// depends on the last kWindow bytes alone. Used by one thread at a time.
class RollingHash {
 public:
  static constexpr size_t kWindow = 32;

  // Both find the same. kWide is for processors with AVX-512 VBMI: twice as fast.
  enum class Engine { kWide, kPortable };
  static Engine BestEngine();

  // kWide only if BestEngine() is.
  explicit RollingHash(const GearTable& gear, Engine engine = BestEngine());

  // Adds bytes up to the first behind which the hash is below `threshold`, or all: how many those
  // are, if there is one.
  std::optional<size_t> FindBelow(absl::string_view bytes, uint32_t threshold);
  // As if no byte had been added.
  void Reset() { hash_ = 0; }

 private:
  // Adds all of the block, or, if the hash is below `threshold` somewhere in it, nothing.
  bool SkipBlock(absl::string_view block, uint32_t threshold);
  bool SkipBlockWide(absl::string_view block, uint32_t threshold);
  uint32_t Next(uint32_t hash, char byte) const {
    return (hash << 1) + gear_[static_cast<unsigned char>(byte)];
  }
  // Of the window before this place of the block.
  uint32_t HashBefore(absl::string_view block, size_t place) const;

  const Engine engine_;
  uint32_t hash_ = 0;
  std::array<uint32_t, 256> gear_;  // Half of the bits of each number are enough.
  // For kWide: the lowest bytes of all numbers, the next bytes of all numbers, and so on.
  alignas(64) std::array<std::array<uint8_t, 256>, 4> gear_bytes_;
};

}  // namespace backup::content
