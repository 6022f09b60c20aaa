#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace backup {

// POSIX cksum as bytes pass: polynomial 0x04C11DB7, most significant bit first, initial value 0,
// then the length's bytes (least significant first, without leading zeros), complemented. Source:
// POSIX.1-2017, cksum. No protection against intent. Used by one thread at a time.
class Cksum {
 public:
  void Update(absl::string_view piece);
  uint32_t Value() const;

 private:
  uint32_t state_ = 0xFFFFFFFF;  // As ISA-L keeps it: complemented.
  uint64_t size_ = 0;
};

// CRC-32 as in zlib (reflected polynomial 0xEDB88320) as bytes pass. Used by one thread at a time.
class Crc32 {
 public:
  void Update(absl::string_view piece);
  uint32_t Value() const { return state_; }

 private:
  uint32_t state_ = 0;
};

// Both of the same bytes: which of them a client compares may not be known when they pass. Used by
// one thread at a time.
struct Checksums {
  Cksum cksum;
  Crc32 crc32;

  void Update(absl::string_view piece) {
    cksum.Update(piece);
    crc32.Update(piece);
  }
};

}  // namespace backup
