#include "base/checksum.h"

#include <isa-l/crc.h>

namespace backup {
namespace {

// ISA-L complements the value before and after; so chaining its results is chaining the plain
// register.
uint32_t Extend(uint32_t state, const void* bytes, uint64_t size) {
  return crc32_ieee(state, static_cast<unsigned char*>(const_cast<void*>(bytes)), size);
}

}  // namespace

void Cksum::Update(absl::string_view piece) {
  state_ = Extend(state_, piece.data(), piece.size());
  size_ += piece.size();
}

uint32_t Cksum::Value() const {
  unsigned char length[8];
  size_t count = 0;
  for (uint64_t rest = size_; rest != 0; rest >>= 8) length[count++] = rest & 0xFF;
  // The register is the complement of ISA-L's value, and cksum complements it once more.
  return Extend(state_, length, count);
}

void Crc32::Update(absl::string_view piece) {
  state_ = crc32_gzip_refl(
      state_, reinterpret_cast<unsigned char*>(const_cast<char*>(piece.data())), piece.size());
}

}  // namespace backup
