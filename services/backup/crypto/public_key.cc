#include "services/backup/crypto/public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::crypto {
namespace {

constexpr int kKeyBits = 1024;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Number = std::unique_ptr<BIGNUM, decltype(&BN_free)>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;

absl::Status BadKey(absl::string_view why) {
  return MakeError(Reason::kInvalidField, why, "public_key");
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// The key at the front of `der`, in either form; `*end` becomes the first byte behind it. Null if
// there is none.
Key DecodeKey(absl::string_view der, const unsigned char** end) {
  const long size = static_cast<long>(der.size());
  *end = Bytes(der);
  Key key(d2i_PUBKEY(nullptr, end, size), &EVP_PKEY_free);
  if (key == nullptr) {
    *end = Bytes(der);
    key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, end, size));
  }
  ERR_clear_error();  // What is wrong with the bytes is for us to say.
  return key;
}

// A part of an RSA key by its OSSL_PKEY_PARAM name; null if there is none.
Number NumberOf(const EVP_PKEY& key, const char* name) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(&key, name, &number);
  return Number(number, &BN_free);
}

// Refuses what could not be encrypted with, or would not hide anything.
absl::Status CheckNumbers(const EVP_PKEY& key) {
  const Number modulus = NumberOf(key, OSSL_PKEY_PARAM_RSA_N);
  if (modulus == nullptr || !BN_is_odd(modulus.get())) {
    return BadKey("the RSA modulus must be odd");
  }
  const Number exponent = NumberOf(key, OSSL_PKEY_PARAM_RSA_E);
  if (exponent == nullptr || !BN_is_odd(exponent.get()) || BN_is_one(exponent.get())) {
    return BadKey("the RSA exponent must be odd and above 1");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ParsePublicKey(absl::string_view sent) {
  if (sent.empty()) return BadKey("a public key is needed");
  if (sent.size() > kMaxPublicKeySize) return BadKey("a public key has at most 162 bytes");
  const unsigned char* end = nullptr;
  const Key key = DecodeKey(sent, &end);
  if (key == nullptr)
    return BadKey("the public key is neither SubjectPublicKeyInfo nor PKCS#1 DER");
  if (!std::all_of(end, Bytes(sent) + sent.size(), [](unsigned char byte) { return byte == 0; })) {
    return BadKey("only zero bytes may follow the public key");
  }
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) return BadKey("the public key must be RSA");
  if (EVP_PKEY_get_bits(key.get()) != kKeyBits) return BadKey("the RSA key must have 1024 bits");
  RETURN_IF_ERROR(CheckNumbers(*key));
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0) return BadKey("the public key cannot be encoded");
  std::string canonical(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return canonical;
}

absl::StatusOr<std::string> EncryptSessionKey(absl::string_view public_key,
                                              absl::string_view session_key) {
  const unsigned char* end = nullptr;
  const Key key = DecodeKey(public_key, &end);
  if (key == nullptr) return absl::InternalError("a stored public key cannot be decoded");
  const KeyContext context(EVP_PKEY_CTX_new(key.get(), nullptr), &EVP_PKEY_CTX_free);
  std::string encrypted(kEncryptedSessionKeySize, '\0');
  size_t size = encrypted.size();
  // SHA-1, MGF1-SHA-1 and an empty label are OAEP's defaults.
  if (context == nullptr || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(encrypted.data()), &size,
                       Bytes(session_key), session_key.size()) != 1 ||
      size != kEncryptedSessionKeySize) {
    ERR_clear_error();
    return absl::InternalError("the session key cannot be encrypted");
  }
  return encrypted;
}

}  // namespace backup::crypto
