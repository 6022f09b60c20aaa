#include "bridge/random_ids.h"

#include <sys/random.h>

#include <cstdint>

#include "absl/strings/str_format.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

void FillRandomly(void* out, size_t size) {
  PCHECK(::getrandom(out, size, 0) == static_cast<ssize_t>(size)) << "getrandom";
}

}  // namespace

std::string RandomUuidBytes() {
  std::string bytes(16, '\0');
  FillRandomly(bytes.data(), bytes.size());
  for (char& byte : bytes) byte = static_cast<char>(byte | 0x10);
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);  // Version 4.
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);  // Variant of RFC 4122.
  return bytes;
}

std::string NewRequestId() {
  uint64_t number = 0;
  FillRandomly(&number, sizeof(number));
  return absl::StrFormat("%016x", number);
}

}  // namespace backup::bridge
