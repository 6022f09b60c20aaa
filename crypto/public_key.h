#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct rsa_st;

namespace backup::crypto {

// RSA-1024 as SubjectPublicKeyInfo has 160 bytes with the exponent 17 of old clients, whose field
// is that long, and 162 with 65537, which other callers may use.
inline constexpr size_t kMaxPublicKeySize = 162;
// Under RSA-1024.
inline constexpr size_t kEncryptedSessionKeySize = 128;

// How a session key is encrypted for its client. The numbers are those of v1::SessionKeyEncryption.
enum class SessionKeyEncryption {
  kRsaesOaepSha1 = 0,  // With MGF1-SHA-1 and an empty label.
  kRsaesPkcs1V15 = 1,
};

// A client's key, decoded once. Used by one thread at a time.
class PublicKey {
 public:
  // Checks a key as it was sent, or as it is stored: SubjectPublicKeyInfo or PKCS#1 RSAPublicKey,
  // each perhaps followed by zero bytes only. Reason INVALID_FIELD (subject "public_key") unless it
  // is RSA with an odd modulus of exactly 1024 bits, an odd exponent from 3 to 2^23 - 1, and at
  // most kMaxPublicKeySize bytes as sent.
  static absl::StatusOr<PublicKey> Parse(absl::string_view sent);

  // X.509 SubjectPublicKeyInfo without padding.
  const std::string& der() const { return der_; }

  // kEncryptedSessionKeySize bytes. Internal if it cannot be done.
  absl::StatusOr<std::string> Encrypt(
      absl::string_view session_key,
      SessionKeyEncryption encryption = SessionKeyEncryption::kRsaesOaepSha1) const;

 private:
  struct Free {
    void operator()(rsa_st* key) const;
  };
  using Key = std::unique_ptr<rsa_st, Free>;

  PublicKey(Key key, std::string der) : key_(std::move(key)), der_(std::move(der)) {}
  static Key Decode(absl::string_view der, const unsigned char** end);

  Key key_;
  std::string der_;
};

}  // namespace backup::crypto
