#pragma once

#include <cstdint>
#include <random>

#include "absl/strings/string_view.h"

namespace backup::bench {

// Bytes that do not shrink and cost nothing to make: pieces of a large buffer of random bytes, in
// an order that the number decides. Two numbers' bytes have no chunk in common, since a piece is
// shorter than any chunk. Used by one thread at a time.
class EndlessContent {
 public:
  static constexpr int64_t kPieceSize = 128 << 10;

  explicit EndlessContent(uint64_t number) : random_(number) {}
  // A number that was not given before in this process.
  static uint64_t NewNumber();

  // The next kPieceSize bytes; stays valid.
  absl::string_view Next();

 private:
  std::minstd_rand random_;
};

}  // namespace backup::bench
