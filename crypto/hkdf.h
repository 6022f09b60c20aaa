#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace backup::crypto {

// HKDF-SHA256 (RFC 5869) without a salt: `size` bytes, at most 8160, that `info` names.
// Thread-safe.
std::string Hkdf(absl::string_view secret, absl::string_view info, size_t size);

}  // namespace backup::crypto
