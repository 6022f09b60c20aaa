#include "services/backup/crypto/cipher.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/error.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

constexpr size_t kBlockSize = 16;

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// One answer for every way in which content can be wrong, so that nobody can use us as a padding
// oracle.
absl::Status ContentRejected() {
  ERR_clear_error();  // Else the next user of OpenSSL in this thread takes it for its own.
  return MakeError(Reason::kContentRejected,
                   "the content cannot be decrypted with the client's session key");
}

}  // namespace

CbcDecryptor::CbcDecryptor(absl::string_view key) : context_(EVP_CIPHER_CTX_new()) {
  CHECK(key.size() == 16 || key.size() == 32);
  const unsigned char zero_iv[kBlockSize] = {};
  const EVP_CIPHER* cipher = key.size() == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
  CHECK_EQ(EVP_DecryptInit_ex(context_, cipher, nullptr, Bytes(key), zero_iv), 1);
}

CbcDecryptor::~CbcDecryptor() { EVP_CIPHER_CTX_free(context_); }

absl::StatusOr<absl::string_view> CbcDecryptor::Update(absl::string_view piece) {
  if (buffer_.size() < piece.size() + kBlockSize) buffer_.resize(piece.size() + kBlockSize);
  int size = 0;
  if (EVP_DecryptUpdate(context_, Bytes(buffer_), &size, Bytes(piece),
                        static_cast<int>(piece.size())) != 1) {
    return ContentRejected();
  }
  return absl::string_view(buffer_.data(), static_cast<size_t>(size));
}

absl::StatusOr<absl::string_view> CbcDecryptor::Finish() {
  buffer_.resize(std::max(buffer_.size(), kBlockSize));
  int size = 0;
  if (EVP_DecryptFinal_ex(context_, Bytes(buffer_), &size) != 1) return ContentRejected();
  return absl::string_view(buffer_.data(), static_cast<size_t>(size));
}

}  // namespace backup::crypto
