#include "legacy_client/families.h"

#include "legacy_client/cipher.h"

namespace backup::legacy_client {
namespace {

constexpr FamilyTraits kFamilies[] = {
    {{1100, 1101, 0, 1103, 1104, 1105, 1106}, 2100, kAes128KeySize, true, false},      // A
    {{1100, 1101, 1102, 1103, 1104, 1105, 1106}, 2100, kAes128KeySize, false, false},  // B
    {{1025, 1026, 1027, 1028, 1029, 1030, 1031}, 2100, kAes128KeySize, false, false},  // C
    {{1025, 1026, 1027, 1028, 1029, 1030, 1031}, 1600, kAes256KeySize, false, true},   // D
    {{825, 826, 827, 828, 900, 901, 902}, 1600, kAes256KeySize, false, true},          // E
};

}  // namespace

const FamilyTraits& TraitsOf(Family family) { return kFamilies[static_cast<size_t>(family)]; }

bool HasReconnect(Family family) {
  return TraitsOf(family).request_codes[static_cast<size_t>(RequestKind::kReconnect)] != 0;
}

}  // namespace backup::legacy_client
