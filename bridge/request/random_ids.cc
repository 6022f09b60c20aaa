#include "bridge/request/random_ids.h"

#include <sys/random.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// At most kPoolSize bytes; one system call is for many ids.
void FillRandomly(void* out, size_t size) {
  constexpr size_t kPoolSize = 256;  // As many as no signal cuts short.
  thread_local std::array<char, kPoolSize> pool;
  thread_local size_t used = kPoolSize;
  if (used + size > kPoolSize) {
    PCHECK(::getrandom(pool.data(), kPoolSize, 0) == ssize_t{kPoolSize}) << "getrandom";
    used = 0;
  }
  std::memcpy(out, pool.data() + used, size);
  used += size;
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
  return absl::StrCat(absl::Hex(number, absl::kZeroPad16));
}

}  // namespace backup::bridge
