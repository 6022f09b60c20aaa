#include "services/backup/testing/legacy_peer.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "glog/logging.h"

namespace backup::testing {
namespace {

constexpr int kKeyBits = 1024;
constexpr size_t kBlock = 16;

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

LegacyPeer::LegacyPeer() : key_(CHECK_NOTNULL(EVP_RSA_gen(kKeyBits))) {}

LegacyPeer::~LegacyPeer() { EVP_PKEY_free(key_); }

std::string LegacyPeer::PublicKey() const {
  std::string der(static_cast<size_t>(i2d_PUBKEY(key_, nullptr)), '\0');
  unsigned char* out = Bytes(der);
  CHECK_EQ(i2d_PUBKEY(key_, &out), static_cast<int>(der.size()));
  return der;
}

std::string LegacyPeer::DecryptSessionKey(absl::string_view encrypted) const {
  return Decrypt(encrypted, RSA_PKCS1_OAEP_PADDING);
}

std::string LegacyPeer::DecryptPkcs1SessionKey(absl::string_view encrypted) const {
  return Decrypt(encrypted, RSA_PKCS1_PADDING);
}

std::string LegacyPeer::Decrypt(absl::string_view encrypted, int padding) const {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(key_, nullptr), &EVP_PKEY_CTX_free);
  CHECK_EQ(EVP_PKEY_decrypt_init(context.get()), 1);
  CHECK_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), padding), 1);
  std::string plain(kKeyBits / 8, '\0');
  size_t size = plain.size();
  if (EVP_PKEY_decrypt(context.get(), Bytes(plain), &size, Bytes(encrypted), encrypted.size()) !=
      1) {
    return "";
  }
  plain.resize(size);
  return plain;
}

std::string EncryptAsClient(absl::string_view session_key, absl::string_view plain) {
  return EncryptAsClient(session_key, plain, ClientCipher());
}

std::string EncryptAsClient(absl::string_view session_key, absl::string_view plain,
                            const ClientCipher& how) {
  const std::string vector = how.vector.empty() ? std::string(kBlock, '\0') : how.vector;
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  const EVP_CIPHER* cipher = session_key.size() == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
  CHECK_EQ(EVP_EncryptInit_ex(context.get(), cipher, nullptr, Bytes(session_key), Bytes(vector)),
           1);
  EVP_CIPHER_CTX_set_padding(context.get(), how.pkcs7 ? 1 : 0);
  std::string filled(plain);
  if (!how.pkcs7) filled.resize((plain.size() + kBlock - 1) / kBlock * kBlock);
  std::string out(filled.size() + kBlock, '\0');
  int size = 0;
  int rest = 0;
  CHECK_EQ(EVP_EncryptUpdate(context.get(), Bytes(out), &size, Bytes(filled),
                             static_cast<int>(filled.size())),
           1);
  CHECK_EQ(EVP_EncryptFinal_ex(context.get(), Bytes(out) + size, &rest), 1);
  out.resize(static_cast<size_t>(size + rest));
  return how.vector + out;
}

}  // namespace backup::testing
