#include "legacy_client/key_pair.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <type_traits>

#include "absl/status/status.h"
#include "glog/logging.h"
#include "legacy_client/frames.h"

namespace backup::legacy_client {
namespace {

constexpr unsigned kKeyBits = 1024;
constexpr unsigned kPublicExponent = 17;  // As Crypto++ chooses; the key then has 160 bytes.

using KeyContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// What one of OpenSSL's i2d functions makes of `object`.
template <typename Object>
std::string Der(int (*encode)(Object*, unsigned char**), std::type_identity_t<Object>* object) {
  const int size = encode(object, nullptr);
  CHECK_GT(size, 0);
  std::string der(static_cast<size_t>(size), '\0');
  unsigned char* out = Bytes(der);
  CHECK_EQ(encode(object, &out), size);
  return der;
}

std::string SubjectPublicKeyInfo(const EVP_PKEY& key) { return Der(&i2d_PUBKEY, &key); }
std::string RsaPublicKey(const EVP_PKEY& key) { return Der(&i2d_PublicKey, &key); }

// Shorter than the field, as the encoders write it that leave out the NULL.
std::string SubjectPublicKeyInfoWithoutParameters(const EVP_PKEY& key) {
  const std::unique_ptr<X509_PUBKEY, decltype(&X509_PUBKEY_free)> info(X509_PUBKEY_new(),
                                                                       &X509_PUBKEY_free);
  const std::string bits = RsaPublicKey(key);
  auto* const copy = static_cast<unsigned char*>(OPENSSL_memdup(bits.data(), bits.size()));
  CHECK(info != nullptr && copy != nullptr);
  CHECK_EQ(X509_PUBKEY_set0_param(info.get(), OBJ_nid2obj(NID_rsaEncryption), V_ASN1_UNDEF, nullptr,
                                  copy, static_cast<int>(bits.size())),
           1);
  return Der(&i2d_X509_PUBKEY, info.get());
}

std::string EncodePublicKey(const EVP_PKEY& key, PublicKeyForm form) {
  switch (form) {
    case PublicKeyForm::kSpki:
      return SubjectPublicKeyInfo(key);
    case PublicKeyForm::kSpkiPadded:
      return SubjectPublicKeyInfoWithoutParameters(key);
    case PublicKeyForm::kPkcs1:
      return RsaPublicKey(key);
  }
  LOG(FATAL) << "no such form of a public key";
}

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
  return KeyPair(Key(key));
}

absl::StatusOr<KeyPair> KeyPair::FromPrivateDer(absl::string_view der) {
  const unsigned char* bytes = Bytes(der);
  Key key(d2i_AutoPrivateKey(nullptr, &bytes, static_cast<long>(der.size())));
  ERR_clear_error();
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA ||
      EVP_PKEY_get_bits(key.get()) != static_cast<int>(kKeyBits)) {
    return absl::InvalidArgumentError("the private key is not an RSA key of 1024 bits");
  }
  if (SubjectPublicKeyInfo(*key).size() != kPublicKeySize) {
    return absl::InvalidArgumentError("the public exponent does not fit into a key request");
  }
  return KeyPair(std::move(key));
}

std::string KeyPair::PrivateDer() const {
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(
      EVP_PKEY2PKCS8(key_.get()), &PKCS8_PRIV_KEY_INFO_free);
  CHECK(info != nullptr);
  return Der(&i2d_PKCS8_PRIV_KEY_INFO, info.get());
}

std::string KeyPair::PublicDer(PublicKeyForm form) const { return EncodePublicKey(*key_, form); }

absl::StatusOr<std::string> KeyPair::Decrypt(absl::string_view ciphertext,
                                             KeyEncryption encryption) const {
  const KeyContext context(EVP_PKEY_CTX_new(key_.get(), nullptr), &EVP_PKEY_CTX_free);
  CHECK(context != nullptr && EVP_PKEY_decrypt_init(context.get()) == 1);
  if (encryption == KeyEncryption::kPkcs1V15) {
    CHECK_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING), 1);
  } else {
    CHECK(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1 &&
          EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha1()) == 1);
  }
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
