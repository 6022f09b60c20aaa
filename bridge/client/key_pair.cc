#include "bridge/client/key_pair.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "absl/status/status.h"
#include "bridge/client/frames.h"
#include "glog/logging.h"

namespace backup::legacy_client {
namespace {

constexpr unsigned kKeyBits = 1024;
constexpr unsigned kPublicExponent = 17;  // As Crypto++ chooses; the key then has 160 bytes.

using KeyContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

}  // namespace

void KeyPair::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

KeyPair KeyPair::Generate() {
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr), &EVP_PKEY_CTX_free);
  unsigned bits = kKeyBits;
  unsigned exponent = kPublicExponent;
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_BITS, &bits),
                               OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_E, &exponent),
                               OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  CHECK(context != nullptr && EVP_PKEY_keygen_init(context.get()) == 1 &&
        EVP_PKEY_CTX_set_params(context.get(), params) == 1 &&
        EVP_PKEY_generate(context.get(), &key) == 1);
  KeyPair pair{Key(key)};
  CHECK_EQ(pair.PublicDer().size(), kPublicKeySize);
  return pair;
}

absl::StatusOr<KeyPair> KeyPair::FromPrivateDer(absl::string_view der) {
  const unsigned char* bytes = Bytes(der);
  Key key(d2i_AutoPrivateKey(nullptr, &bytes, static_cast<long>(der.size())));
  ERR_clear_error();
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA ||
      EVP_PKEY_get_bits(key.get()) != static_cast<int>(kKeyBits)) {
    return absl::InvalidArgumentError("the private key is not an RSA key of 1024 bits");
  }
  KeyPair pair(std::move(key));
  if (pair.PublicDer().size() != kPublicKeySize) {
    return absl::InvalidArgumentError("the public exponent does not fit into a key request");
  }
  return pair;
}

std::string KeyPair::PrivateDer() const {
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(
      EVP_PKEY2PKCS8(key_.get()), &PKCS8_PRIV_KEY_INFO_free);
  CHECK(info != nullptr);
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr);
  CHECK_GT(size, 0);
  std::string der(static_cast<size_t>(size), '\0');
  unsigned char* out = Bytes(der);
  CHECK_EQ(i2d_PKCS8_PRIV_KEY_INFO(info.get(), &out), size);
  return der;
}

std::string KeyPair::PublicDer() const {
  const int size = i2d_PUBKEY(key_.get(), nullptr);
  CHECK_GT(size, 0);
  std::string der(static_cast<size_t>(size), '\0');
  unsigned char* out = Bytes(der);
  CHECK_EQ(i2d_PUBKEY(key_.get(), &out), size);
  return der;
}

absl::StatusOr<std::string> KeyPair::Decrypt(absl::string_view ciphertext) const {
  const KeyContext context(EVP_PKEY_CTX_new(key_.get(), nullptr), &EVP_PKEY_CTX_free);
  CHECK(context != nullptr && EVP_PKEY_decrypt_init(context.get()) == 1 &&
        EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1 &&
        EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha1()) == 1);
  std::string plaintext(static_cast<size_t>(EVP_PKEY_get_size(key_.get())), '\0');
  size_t size = plaintext.size();
  if (EVP_PKEY_decrypt(context.get(), Bytes(plaintext), &size, Bytes(ciphertext),
                       ciphertext.size()) != 1) {
    ERR_clear_error();
    return absl::DataLossError("the session key is not encrypted for this client");
  }
  plaintext.resize(size);
  return plaintext;
}

}  // namespace backup::legacy_client
