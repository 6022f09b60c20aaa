#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace backup::wire {

// Appends little-endian fields. Used by one thread at a time.
class ByteWriter {
 public:
  ByteWriter& Bytes(absl::string_view bytes) {
    out_.append(bytes.data(), bytes.size());
    return *this;
  }
  ByteWriter& U8(uint8_t value) { return Uint(value, 1); }
  ByteWriter& U16(uint16_t value) { return Uint(value, 2); }
  ByteWriter& U32(uint32_t value) { return Uint(value, 4); }
  std::string Take() { return std::move(out_); }

 private:
  ByteWriter& Uint(uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) out_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }

  std::string out_;
};

}  // namespace backup::wire
