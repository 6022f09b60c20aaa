#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"

namespace backup::testing {

// `size` bytes that look random and are the same for the same seed.
inline std::string PseudoRandomBytes(size_t size, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Hands out a string in pieces of 1 to `max_piece` bytes, the same cuts for the same seed.
// Used by one thread at a time.
class RandomCutSource final : public ByteSource {
 public:
  RandomCutSource(std::string bytes, size_t max_piece, uint32_t seed = 1)
      : bytes_(std::move(bytes)), rest_(bytes_), size_(1, max_piece), random_(seed) {}
  RandomCutSource(const RandomCutSource&) = delete;
  RandomCutSource& operator=(const RandomCutSource&) = delete;
  absl::StatusOr<absl::string_view> Read() override {
    const absl::string_view piece = rest_.substr(0, size_(random_));
    rest_.remove_prefix(piece.size());
    return piece;
  }

 private:
  const std::string bytes_;
  absl::string_view rest_;
  std::uniform_int_distribution<size_t> size_;
  std::mt19937 random_;
};

}  // namespace backup::testing
