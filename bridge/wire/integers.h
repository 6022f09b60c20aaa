#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

// Integers of any width up to 8 bytes, in either order of bytes.
namespace backup::wire {

inline uint64_t ReadInteger(absl::string_view bytes, bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t at = big_endian ? i : bytes.size() - 1 - i;
    value = value << 8 | static_cast<uint8_t>(bytes[at]);
  }
  return value;
}

inline void AppendInteger(uint64_t value, size_t width, bool big_endian, std::string& out) {
  for (size_t i = 0; i < width; ++i) {
    const size_t byte = big_endian ? width - 1 - i : i;
    out.push_back(static_cast<char>(value >> (8 * byte)));
  }
}

// Whether `width` bytes are enough for it.
inline bool FitsInto(uint64_t value, size_t width) {
  return width >= sizeof(value) || value >> (8 * width) == 0;
}

}  // namespace backup::wire
