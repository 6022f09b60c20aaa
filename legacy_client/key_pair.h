#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY.

namespace backup::legacy_client {

// How a public key is written into the field of a key request.
enum class PublicKeyForm {
  kSpki,        // SubjectPublicKeyInfo, which fills the field.
  kSpkiPadded,  // The same without the algorithm's parameters, then zero bytes.
  kPkcs1,       // RSAPublicKey, then zero bytes.
};

// The client's RSA-1024 key with the public exponent 17, as the old clients make it. Thread-safe.
class KeyPair {
 public:
  static KeyPair Generate();
  // The key in DER, PKCS#8 or PKCS#1. InvalidArgument if it is not a key, or has another size.
  static absl::StatusOr<KeyPair> FromPrivateDer(absl::string_view der);

  // PKCS#8.
  std::string PrivateDer() const;
  // The field of a key request, kPublicKeySize bytes.
  std::string PublicKeyField(PublicKeyForm form) const;
  // Undoes RSAES-OAEP with SHA-1. DataLoss if it is not for this key.
  absl::StatusOr<std::string> Decrypt(absl::string_view ciphertext) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  explicit KeyPair(Key key) : key_(std::move(key)) {}

  Key key_;
};

}  // namespace backup::legacy_client
