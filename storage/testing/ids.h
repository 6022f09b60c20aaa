#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"

namespace backup::storage {

// An id that begins with `first`, so that ids are in the order of their numbers.
template <typename IdType>
IdType IdOf(uint8_t first, uint8_t second = 0) {
  std::string bytes(IdType::kSize, '\x11');
  bytes[0] = static_cast<char>(first);
  bytes[1] = static_cast<char>(second);
  return *IdType::FromBytes(bytes);
}

}  // namespace backup::storage
