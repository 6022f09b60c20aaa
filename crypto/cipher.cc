#include "crypto/cipher.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/error.h"
#include "crypto/algorithms.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

unsigned char* Bytes(char* text) { return reinterpret_cast<unsigned char*>(text); }
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
  const unsigned char zero_iv[kCipherBlockSize] = {};
  const EVP_CIPHER* cipher = key.size() == 16 ? Aes128Cbc() : Aes256Cbc();
  CHECK_EQ(EVP_DecryptInit_ex(context_, cipher, nullptr, Bytes(key), zero_iv), 1);
}

CbcDecryptor::~CbcDecryptor() { EVP_CIPHER_CTX_free(context_); }

absl::StatusOr<size_t> CbcDecryptor::Update(absl::string_view piece, char* out) {
  int size = 0;
  if (EVP_DecryptUpdate(context_, Bytes(out), &size, Bytes(piece),
                        static_cast<int>(piece.size())) != 1) {
    return ContentRejected();
  }
  return static_cast<size_t>(size);
}

absl::StatusOr<size_t> CbcDecryptor::Finish(char* out) {
  int size = 0;
  if (EVP_DecryptFinal_ex(context_, Bytes(out), &size) != 1) return ContentRejected();
  return static_cast<size_t>(size);
}

}  // namespace backup::crypto
