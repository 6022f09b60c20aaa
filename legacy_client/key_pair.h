#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY.

namespace backup::legacy_client {

// How a public key is written.
enum class PublicKeyForm {
  kSpki,        // SubjectPublicKeyInfo.
  kSpkiPadded,  // The same without the algorithm's parameters.
  kPkcs1,       // RSAPublicKey.
};

// How a session key is encrypted for a client.
enum class KeyEncryption { kOaepSha1, kPkcs1V15 };

// The client's RSA-1024 key with the public exponent 17, as the old clients make it. Thread-safe.
class KeyPair {
 public:
  static KeyPair Generate();
  // The key in DER, PKCS#8 or PKCS#1. InvalidArgument if it is not a key, or has another size.
  static absl::StatusOr<KeyPair> FromPrivateDer(absl::string_view der);

  // PKCS#8.
  std::string PrivateDer() const;
  // At most kPublicKeySize bytes; kSpki has just as many.
  std::string PublicDer(PublicKeyForm form) const;
  // DataLoss if it is not for this key.
  absl::StatusOr<std::string> Decrypt(absl::string_view ciphertext,
                                      KeyEncryption encryption = KeyEncryption::kOaepSha1) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  explicit KeyPair(Key key) : key_(std::move(key)) {}

  Key key_;
};

}  // namespace backup::legacy_client
