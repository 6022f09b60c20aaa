#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace backup::fuzz {

// What a fuzz target defines: tries one input, and dies if a promise is broken. The same input does
// the same. A libFuzzer program calls it with whatever it makes up (preset fuzz), else
// replay_main.cc with what is in the corpus.
void TryInput(absl::string_view bytes);

// An input as what a target needs: values taken off its front. Behind its end all are zero and
// empty, so that every input is one. Two in one expression would be taken in another order by
// another compiler.
class Input {
 public:
  explicit Input(absl::string_view bytes) : rest_(bytes) {}

  // Little-endian, of at most 8 bytes.
  uint64_t Uint(size_t size) {
    uint64_t value = 0;
    const absl::string_view bytes = Take(size);
    for (size_t i = 0; i < bytes.size(); ++i)
      value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    return value;
  }
  uint8_t Byte() { return static_cast<uint8_t>(Uint(1)); }
  bool Flag() { return (Byte() & 1) != 0; }
  // Below `bound`, which is above 0: by one byte, if that can do, else by two.
  size_t Below(size_t bound) { return Uint(bound <= 256 ? 1 : 2) % bound; }
  // As many bytes as the two bytes before them say, at most `max_size`.
  absl::string_view Text(size_t max_size) { return Take(std::min(max_size, size_t{Uint(2)})); }
  // Exactly `size` bytes, with zeros for those behind the end.
  std::string Exactly(size_t size) {
    std::string bytes(Take(size));
    bytes.resize(size);
    return bytes;
  }
  absl::string_view Rest() { return Take(rest_.size()); }
  bool AtEnd() const { return rest_.empty(); }

 private:
  absl::string_view Take(size_t size) {
    const absl::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  absl::string_view rest_;
};

}  // namespace backup::fuzz
