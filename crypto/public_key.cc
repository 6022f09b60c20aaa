// RSA's own functions are deprecated in favour of EVP, which finds a decoder among all providers
// for each key and so takes ten times as long.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "crypto/public_key.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::crypto {
namespace {

constexpr int kKeyBits = 1024;
// What fits into kMaxPublicKeySize: the exponents of real clients are 17 and 65537, and 3 and 37
// are in use elsewhere.
constexpr int kMaxExponentBits = 23;

absl::Status BadKey(absl::string_view why) {
  return MakeError(Reason::kInvalidField, why, "public_key");
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Refuses what could not be encrypted with, or would not hide anything.
absl::Status CheckNumbers(const RSA& key) {
  if (!BN_is_odd(RSA_get0_n(&key))) return BadKey("the RSA modulus must be odd");
  const BIGNUM* exponent = RSA_get0_e(&key);
  if (!BN_is_odd(exponent) || BN_is_one(exponent)) {
    return BadKey("the RSA exponent must be odd and above 1");
  }
  if (BN_num_bits(exponent) > kMaxExponentBits)
    return BadKey("the RSA exponent must have at most 23 bits");
  return absl::OkStatus();
}

}  // namespace

void PublicKey::Free::operator()(rsa_st* key) const { RSA_free(key); }

// The RSA key at the front of `der`, in either form; `*end` becomes the first byte behind it. Null
// if there is none.
PublicKey::Key PublicKey::Decode(absl::string_view der, const unsigned char** end) {
  const long size = static_cast<long>(der.size());
  *end = Bytes(der);
  Key key(d2i_RSA_PUBKEY(nullptr, end, size));
  if (key == nullptr) {
    *end = Bytes(der);
    key.reset(d2i_RSAPublicKey(nullptr, end, size));
  }
  ERR_clear_error();  // What is wrong with the bytes is for us to say.
  return key;
}

absl::StatusOr<PublicKey> PublicKey::Parse(absl::string_view sent) {
  if (sent.empty()) return BadKey("a public key is needed");
  if (sent.size() > kMaxPublicKeySize) return BadKey("a public key has at most 162 bytes");
  const unsigned char* end = nullptr;
  Key key = Decode(sent, &end);
  if (key == nullptr)
    return BadKey("the public key is neither SubjectPublicKeyInfo nor PKCS#1 DER");
  if (!std::all_of(end, Bytes(sent) + sent.size(), [](unsigned char byte) { return byte == 0; })) {
    return BadKey("only zero bytes may follow the public key");
  }
  if (RSA_test_flags(key.get(), RSA_FLAG_TYPE_MASK) != RSA_FLAG_TYPE_RSA) {
    return BadKey("the public key must be RSA, and not only for signatures");
  }
  if (RSA_bits(key.get()) != kKeyBits) return BadKey("the RSA key must have 1024 bits");
  RETURN_IF_ERROR(CheckNumbers(*key));
  unsigned char* encoded = nullptr;
  const int size = i2d_RSA_PUBKEY(key.get(), &encoded);
  if (size <= 0) return BadKey("the public key cannot be encoded");
  std::string der(reinterpret_cast<char*>(encoded), static_cast<size_t>(size));
  OPENSSL_free(encoded);
  return PublicKey(std::move(key), std::move(der));
}

absl::StatusOr<std::string> PublicKey::Encrypt(absl::string_view session_key,
                                               SessionKeyEncryption encryption) const {
  std::string encrypted(kEncryptedSessionKeySize, '\0');
  // SHA-1, MGF1-SHA-1 and an empty label are OAEP's defaults.
  const int padding = encryption == SessionKeyEncryption::kRsaesPkcs1V15 ? RSA_PKCS1_PADDING
                                                                         : RSA_PKCS1_OAEP_PADDING;
  const int size =
      RSA_public_encrypt(static_cast<int>(session_key.size()), Bytes(session_key),
                         reinterpret_cast<unsigned char*>(encrypted.data()), key_.get(), padding);
  if (size != static_cast<int>(kEncryptedSessionKeySize)) {
    ERR_clear_error();
    return absl::InternalError("the session key cannot be encrypted");
  }
  return encrypted;
}

}  // namespace backup::crypto
