#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::crypto {

// RSA-1024 as SubjectPublicKeyInfo has 160 bytes with the exponent 17 of old clients, whose field
// is that long, and 162 with 65537, which other callers may use.
inline constexpr size_t kMaxPublicKeySize = 162;
// RSAES-OAEP under RSA-1024.
inline constexpr size_t kEncryptedSessionKeySize = 128;

// Checks a client's key and returns it as X.509 SubjectPublicKeyInfo DER without padding. Accepts
// SubjectPublicKeyInfo and PKCS#1 RSAPublicKey, each perhaps followed by zero bytes only. Reason
// INVALID_FIELD (subject "public_key") unless it is RSA with an odd modulus of exactly 1024 bits,
// an odd exponent above 1, and at most kMaxPublicKeySize bytes as sent.
absl::StatusOr<std::string> ParsePublicKey(absl::string_view sent);

// RSAES-OAEP with SHA-1, MGF1-SHA-1 and an empty label. `public_key` is what ParsePublicKey()
// returned.
absl::StatusOr<std::string> EncryptSessionKey(absl::string_view public_key,
                                              absl::string_view session_key);

}  // namespace backup::crypto
