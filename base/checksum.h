#pragma once

#include <cstdint>
#include <optional>

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

// Those of the same bytes that are wanted: each costs a pass over them. Used by one thread at a
// time.
struct Checksums {
  std::optional<Cksum> cksum;
  std::optional<Crc32> crc32;

  void Update(absl::string_view piece) {
    if (cksum) cksum->Update(piece);
    if (crc32) crc32->Update(piece);
  }
};

}  // namespace backup
