#include "crypto/algorithms.h"

#include <openssl/evp.h>

#include "glog/logging.h"

namespace backup::crypto {
namespace {

// Never freed: used until the process ends.
const EVP_CIPHER* FetchCipher(const char* name) {
  const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  CHECK(cipher != nullptr) << "OpenSSL has no " << name;
  return cipher;
}

}  // namespace

const EVP_CIPHER* Aes128Cbc() {
  static const EVP_CIPHER* const cipher = FetchCipher("AES-128-CBC");
  return cipher;
}

const EVP_CIPHER* Aes256Cbc() {
  static const EVP_CIPHER* const cipher = FetchCipher("AES-256-CBC");
  return cipher;
}

const EVP_CIPHER* Aes256Gcm() {
  static const EVP_CIPHER* const cipher = FetchCipher("AES-256-GCM");
  return cipher;
}

const EVP_MD* Sha256Digest() {
  static const EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CHECK(digest != nullptr) << "OpenSSL has no SHA-256";
  return digest;
}

}  // namespace backup::crypto
