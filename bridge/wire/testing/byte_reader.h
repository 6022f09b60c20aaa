#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "glog/logging.h"

namespace backup::wire {

// Takes little-endian fields off the front of bytes. The caller checks first that there are enough:
// reading past the end is a bug and dies. Used by one thread at a time.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view bytes) : rest_(bytes) {}

  absl::string_view Bytes(size_t size) {
    CHECK_LE(size, rest_.size());
    const absl::string_view field = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return field;
  }
  uint8_t U8() { return static_cast<uint8_t>(Uint(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Uint(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Uint(4)); }

 private:
  uint64_t Uint(size_t size) {
    uint64_t value = 0;
    size_t shift = 0;
    for (const char byte : Bytes(size)) {
      value |= uint64_t{static_cast<uint8_t>(byte)} << shift;
      shift += 8;
    }
    return value;
  }

  absl::string_view rest_;
};

}  // namespace backup::wire
