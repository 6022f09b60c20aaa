#include "legacy_client/cipher.h"

#include <openssl/evp.h>

#include <algorithm>

#include "glog/logging.h"

namespace backup::legacy_client {
namespace {

constexpr unsigned char kZeroVector[kCipherBlockSize] = {};

unsigned char* Bytes(std::span<char> out) { return reinterpret_cast<unsigned char*>(out.data()); }
const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

void CbcEncryptor::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

CbcEncryptor::CbcEncryptor(absl::string_view key, CipherPadding padding)
    : padding_(padding), context_(EVP_CIPHER_CTX_new()) {
  CHECK(key.size() == kAes128KeySize || key.size() == kAes256KeySize) << key.size();
  const EVP_CIPHER* const cipher =
      key.size() == kAes128KeySize ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
  CHECK_EQ(EVP_EncryptInit_ex(context_.get(), cipher, nullptr, Bytes(key), kZeroVector), 1);
  EVP_CIPHER_CTX_set_padding(context_.get(), padding_ == CipherPadding::kPkcs7 ? 1 : 0);
}

void CbcEncryptor::SetInitialVector(absl::string_view vector) {
  CHECK_EQ(vector.size(), kCipherBlockSize);
  CHECK_EQ(EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, nullptr, Bytes(vector)), 1);
}

size_t CbcEncryptor::Update(absl::string_view plaintext, std::span<char> out) {
  CHECK_GE(out.size(), plaintext.size() + kCipherBlockSize);
  int size = 0;
  CHECK_EQ(EVP_EncryptUpdate(context_.get(), Bytes(out), &size, Bytes(plaintext),
                             static_cast<int>(plaintext.size())),
           1);
  last_block_size_ = (last_block_size_ + plaintext.size()) % kCipherBlockSize;
  return static_cast<size_t>(size);
}

size_t CbcEncryptor::Finish(std::span<char> out) {
  CHECK_GE(out.size(), kCipherBlockSize);
  size_t filled = 0;
  if (padding_ == CipherPadding::kZeros && last_block_size_ != 0) {
    char block[2 * kCipherBlockSize];  // Update() wants more room than it needs here.
    const absl::string_view zeros(reinterpret_cast<const char*>(kZeroVector), kCipherBlockSize);
    filled = Update(zeros.substr(last_block_size_), block);
    std::copy_n(block, filled, out.begin());
  }
  int size = 0;
  CHECK_EQ(EVP_EncryptFinal_ex(context_.get(), Bytes(out.subspan(filled)), &size), 1);
  CHECK_EQ(EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, nullptr, kZeroVector), 1);
  last_block_size_ = 0;
  return filled + static_cast<size_t>(size);
}

}  // namespace backup::legacy_client
