#include "crypto/sealed_file.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/algorithms.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

constexpr int kNonceSize = 12;
// Segments that one Read() seals, so that pieces are about as large as elsewhere.
constexpr int64_t kSegmentsPerRead = static_cast<int64_t>(kPieceSize) / kSegmentSize;

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* Bytes(const char* text) {
  return reinterpret_cast<const unsigned char*>(text);
}

struct Nonce {
  Nonce(uint64_t segment, bool last) {
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(segment >> (8 * (7 - i)));
    bytes[8] = last ? 1 : 0;
  }
  unsigned char bytes[kNonceSize] = {};
};

// The last segment's number; an empty plaintext has one empty segment.
int64_t LastSegment(int64_t plaintext_size) {
  return std::max<int64_t>(plaintext_size - 1, 0) / kSegmentSize;
}

// Appends the sealed segment to `out`.
void SealSegment(EVP_CIPHER_CTX* context, uint64_t segment, bool last, const char* plain,
                 size_t size, std::string& out) {
  const Nonce nonce(segment, last);
  const size_t begin = out.size();
  out.resize(begin + size + kTagSize);
  int written = 0;
  CHECK_EQ(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.bytes), 1);
  CHECK_EQ(EVP_EncryptUpdate(context, Bytes(out) + begin, &written, Bytes(plain),
                             static_cast<int>(size)),
           1);
  CHECK_EQ(EVP_EncryptFinal_ex(context, Bytes(out) + begin + written, &written), 1);
  CHECK_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, kTagSize, Bytes(out) + begin + size),
           1);
}

// Opens a sealed segment of `size` plaintext bytes into `plain`; false if it was changed.
bool OpenSegment(EVP_CIPHER_CTX* context, uint64_t segment, bool last, char* sealed, size_t size,
                 char* plain) {
  const Nonce nonce(segment, last);
  auto* out = reinterpret_cast<unsigned char*>(plain);
  int written = 0;
  return EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.bytes) == 1 &&
         EVP_DecryptUpdate(context, out, &written, Bytes(sealed), static_cast<int>(size)) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, kTagSize, sealed + size) == 1 &&
         EVP_DecryptFinal_ex(context, out + written, &written) == 1;
}

}  // namespace

int64_t SealedSize(int64_t plaintext_size) {
  return plaintext_size + (LastSegment(plaintext_size) + 1) * kTagSize;
}

SealSource::SealSource(ByteSource& plaintext, absl::string_view file_key)
    : plaintext_(plaintext), context_(EVP_CIPHER_CTX_new()) {
  CHECK_EQ(file_key.size(), kFileKeySize);
  CHECK_EQ(EVP_EncryptInit_ex(context_, Aes256Gcm(), nullptr, Bytes(file_key.data()), nullptr), 1);
}

SealSource::~SealSource() { EVP_CIPHER_CTX_free(context_); }

absl::StatusOr<absl::string_view> SealSource::Read() {
  constexpr size_t kSegment = static_cast<size_t>(kSegmentSize);
  out_.clear();
  while (!ended_ && pending_.size() <= kSegment) {
    ASSIGN_OR_RETURN(const absl::string_view piece, plaintext_.Read());
    ended_ = piece.empty();
    pending_.append(piece.data(), piece.size());
  }
  size_t sealed = 0;
  while (pending_.size() - sealed > kSegment && sealed < kSegmentsPerRead * kSegment) {
    SealSegment(context_, segment_++, false, pending_.data() + sealed, kSegment, out_);
    sealed += kSegment;
  }
  pending_.erase(0, sealed);
  if (ended_ && !finished_ && pending_.size() <= kSegment) {
    SealSegment(context_, segment_, true, pending_.data(), pending_.size(), out_);
    pending_.clear();
    finished_ = true;
  }
  return out_;
}

UnsealSource::UnsealSource(const RandomAccess& payload, PieceBudget& budget,
                           absl::string_view file_key, int64_t plaintext_size, int64_t offset,
                           int64_t size_bytes)
    : payload_(payload),
      context_(EVP_CIPHER_CTX_new()),
      plaintext_size_(plaintext_size),
      offset_(offset),
      left_(size_bytes),
      plain_(budget, plaintext_size) {
  CHECK(offset >= 0 && size_bytes >= 0 && size_bytes <= plaintext_size - offset);
  CHECK_EQ(file_key.size(), kFileKeySize);
  CHECK_EQ(EVP_DecryptInit_ex(context_, Aes256Gcm(), nullptr, Bytes(file_key.data()), nullptr), 1);
}

UnsealSource::~UnsealSource() { EVP_CIPHER_CTX_free(context_); }

absl::StatusOr<absl::string_view> UnsealSource::Read() {
  if (left_ == 0) return absl::string_view();
  const int64_t last = LastSegment(plaintext_size_);
  const int64_t first_wanted = offset_ / kSegmentSize;
  char* const plain = plain_.Next();
  const int64_t room =
      std::max<int64_t>(static_cast<int64_t>(plain_.piece_size()) / kSegmentSize, 1);
  const int64_t last_wanted =
      std::min(first_wanted + room - 1, (offset_ + left_ - 1) / kSegmentSize);
  const int64_t begin = first_wanted * kSegmentSize;
  const int64_t plain_size = std::min((last_wanted + 1) * kSegmentSize, plaintext_size_) - begin;
  sealed_.resize(static_cast<size_t>(plain_size + (last_wanted - first_wanted + 1) * kTagSize));
  RETURN_IF_ERROR(
      payload_.ReadAt(first_wanted * (kSegmentSize + kTagSize), {sealed_.data(), sealed_.size()}));
  char* sealed = sealed_.data();
  for (int64_t segment = first_wanted; segment <= last_wanted; ++segment) {
    const int64_t at = (segment - first_wanted) * kSegmentSize;
    const int64_t size = std::min(kSegmentSize, plain_size - at);
    if (!OpenSegment(context_, static_cast<uint64_t>(segment), segment == last, sealed,
                     static_cast<size_t>(size), plain + at)) {
      return MakeError(Reason::kBlobDamaged,
                       "sealed content was changed, or sealed under another key");
    }
    sealed += size + kTagSize;
  }
  const int64_t skip = offset_ - begin;
  const int64_t size = std::min(plain_size - skip, left_);
  offset_ += size;
  left_ -= size;
  return absl::string_view(plain + skip, static_cast<size_t>(size));
}

}  // namespace backup::crypto
