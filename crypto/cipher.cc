#include "crypto/cipher.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/algorithms.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

constexpr unsigned char kZeroVector[kCipherBlockSize] = {};
static_assert(PieceBuffers::kSlack >= 2 * kCipherBlockSize);

unsigned char* Bytes(char* text) { return reinterpret_cast<unsigned char*>(text); }
const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

absl::Status ContentRejected() {
  ERR_clear_error();  // Else the next user of OpenSSL in this thread takes it for its own.
  return MakeError(Reason::kContentRejected,
                   "the content cannot be decrypted with the client's session key");
}

absl::Status NoWholeBlocks() {
  ERR_clear_error();
  return MakeError(Reason::kContentRejected,
                   "the content's size is no multiple of 16 bytes, the cipher's block");
}

absl::Status TooShortForItsVector() {
  return MakeError(Reason::kContentRejected,
                   "the content is too short for the initial vector in front and a block");
}

CbcDecryptor::CbcDecryptor(absl::string_view key, const CbcFormat& format)
    : format_(format), context_(EVP_CIPHER_CTX_new()) {
  CHECK(key.size() == 16 || key.size() == 32);
  const EVP_CIPHER* cipher = key.size() == 16 ? Aes128Cbc() : Aes256Cbc();
  CHECK_EQ(EVP_DecryptInit_ex(context_, cipher, nullptr, Bytes(key), nullptr), 1);
  CHECK_EQ(EVP_CIPHER_CTX_set_padding(context_, format_.padding != CbcFormat::Padding::kZeros), 1);
  Restart();
}

CbcDecryptor::~CbcDecryptor() { EVP_CIPHER_CTX_free(context_); }

void CbcDecryptor::Restart() {
  CHECK_EQ(EVP_DecryptInit_ex(context_, nullptr, nullptr, nullptr, kZeroVector), 1);
  const bool in_front = format_.initial_vector == CbcFormat::InitialVector::kInFront;
  vector_left_ = in_front ? kCipherBlockSize : 0;
}

absl::StatusOr<size_t> CbcDecryptor::Update(absl::string_view piece, char* out) {
  int written = 0;
  if (EVP_DecryptUpdate(context_, Bytes(out), &written, Bytes(piece),
                        static_cast<int>(piece.size())) != 1) {
    return ContentRejected();
  }
  const auto size = static_cast<size_t>(written);
  if (vector_left_ == 0) return size;
  // CBC mixes each block with the one before, as it does the first with the IV: taken as the first
  // block, the IV yields nothing of use, and what follows is right.
  const size_t dropped = std::min(size, vector_left_);
  vector_left_ -= dropped;
  std::memmove(out, out + dropped, size - dropped);
  return size - dropped;
}

absl::StatusOr<size_t> CbcDecryptor::Finish(char* out) {
  if (vector_left_ > 0) return TooShortForItsVector();
  int size = 0;
  if (EVP_DecryptFinal_ex(context_, Bytes(out), &size) != 1) {
    return format_.padding == CbcFormat::Padding::kZeros ? NoWholeBlocks() : ContentRejected();
  }
  return static_cast<size_t>(size);
}

absl::StatusOr<absl::string_view> DecryptSource::Read() {
  char* const piece = buffers_.Next();
  if (!surplus_.empty()) std::memmove(piece, surplus_.data(), surplus_.size());
  ObservedPiece observed(observer_, piece);
  size_t filled = surplus_.size();
  while (!ended_ && filled < buffers_.piece_size()) {
    const size_t wanted = std::min(buffers_.piece_size(), observed.limit()) - filled;
    ASSIGN_OR_RETURN(const size_t size, Decrypt(wanted, piece + filled));
    filled += size;
    observed.Filled(std::min(filled, buffers_.piece_size()));
  }
  const size_t size = std::min(filled, buffers_.piece_size());
  observed.Finish(size);
  surplus_ = absl::string_view(piece + size, filled - size);
  return absl::string_view(piece, size);
}

absl::StatusOr<size_t> DecryptSource::Decrypt(size_t wanted, char* out) {
  if (rest_.empty()) {
    ASSIGN_OR_RETURN(rest_, ciphertext_.Read());
    ended_ = rest_.empty();
    if (ended_) return decryptor_->Finish(out);
  }
  const absl::string_view taken = rest_.substr(0, wanted);
  rest_.remove_prefix(taken.size());
  return decryptor_->Update(taken, out);
}

}  // namespace backup::crypto
