#include "crypto/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "crypto/algorithms.h"
#include "crypto/random.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

const unsigned char* Bytes(const char* text) {
  return reinterpret_cast<const unsigned char*>(text);
}

// The one in front of what is sealed alone.
Aead::Nonce NonceOf(absl::string_view sealed) {
  Aead::Nonce nonce;
  std::copy_n(sealed.begin(), nonce.size(), nonce.begin());
  return nonce;
}

}  // namespace

Aead::Aead(absl::string_view key) : context_(EVP_CIPHER_CTX_new()) {
  CHECK_EQ(key.size(), kKeySize);
  CHECK_EQ(EVP_EncryptInit_ex(context_, Aes256Gcm(), nullptr, Bytes(key.data()), nullptr), 1);
}

Aead::~Aead() { EVP_CIPHER_CTX_free(context_); }

void Aead::Seal(const Nonce& nonce, absl::string_view context, absl::string_view plain,
                std::string& out) {
  const size_t begin = out.size();
  out.resize(begin + plain.size() + kTagSize);
  auto* const to = reinterpret_cast<unsigned char*>(out.data()) + begin;
  int written = 0;
  CHECK_EQ(EVP_EncryptInit_ex(context_, nullptr, nullptr, nullptr, Bytes(nonce.data())), 1);
  if (!context.empty()) {
    CHECK_EQ(EVP_EncryptUpdate(context_, nullptr, &written, Bytes(context.data()),
                               static_cast<int>(context.size())),
             1);
  }
  CHECK_EQ(EVP_EncryptUpdate(context_, to, &written, Bytes(plain.data()),
                             static_cast<int>(plain.size())),
           1);
  CHECK_EQ(EVP_EncryptFinal_ex(context_, to + plain.size(), &written), 1);
  CHECK_EQ(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_GCM_GET_TAG, kTagSize, to + plain.size()), 1);
}

bool Aead::Open(const Nonce& nonce, absl::string_view context, absl::string_view sealed,
                char* plain) {
  CHECK_GE(sealed.size(), kTagSize);
  const size_t size = sealed.size() - kTagSize;
  auto* const to = reinterpret_cast<unsigned char*>(plain);
  // It is only read.
  auto* const tag = const_cast<char*>(sealed.data()) + size;
  int written = 0;
  return EVP_DecryptInit_ex(context_, nullptr, nullptr, nullptr, Bytes(nonce.data())) == 1 &&
         (context.empty() || EVP_DecryptUpdate(context_, nullptr, &written, Bytes(context.data()),
                                               static_cast<int>(context.size())) == 1) &&
         EVP_DecryptUpdate(context_, to, &written, Bytes(sealed.data()), static_cast<int>(size)) ==
             1 &&
         EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_GCM_SET_TAG, kTagSize, tag) == 1 &&
         EVP_DecryptFinal_ex(context_, to + size, &written) == 1;
}

Aead::Nonce SegmentNonce(uint64_t number, bool last) {
  Aead::Nonce nonce = {};
  for (size_t i = 0; i < 8; ++i) nonce[i] = static_cast<char>(number >> (8 * (7 - i)));
  nonce[8] = last ? 1 : 0;
  return nonce;
}

std::string SealAlone(absl::string_view key, absl::string_view context, absl::string_view plain) {
  std::string sealed = RandomBytes(Aead::kNonceSize);
  Aead(key).Seal(NonceOf(sealed), context, plain, sealed);
  return sealed;
}

std::optional<std::string> OpenAlone(absl::string_view key, absl::string_view context,
                                     absl::string_view sealed) {
  if (sealed.size() < kSealOverhead) return std::nullopt;
  std::string plain(sealed.size() - kSealOverhead, '\0');
  if (!Aead(key).Open(NonceOf(sealed), context, sealed.substr(Aead::kNonceSize), plain.data())) {
    OPENSSL_cleanse(plain.data(), plain.size());
    return std::nullopt;
  }
  return plain;
}

}  // namespace backup::crypto
