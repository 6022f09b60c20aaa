#include "crypto/sealed_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

// Segments that one Read() seals, so that pieces are about as large as elsewhere.
constexpr int64_t kSegmentsPerRead = static_cast<int64_t>(kPieceSize) / kSegmentSize;

// The last segment's number; an empty plaintext has one empty segment.
int64_t LastSegment(int64_t plaintext_size) {
  return std::max<int64_t>(plaintext_size - 1, 0) / kSegmentSize;
}

}  // namespace

int64_t SealedSize(int64_t plaintext_size) {
  return plaintext_size + (LastSegment(plaintext_size) + 1) * kTagSize;
}

SealSource::SealSource(ByteSource& plaintext, absl::string_view file_key)
    : plaintext_(plaintext), aead_(file_key) {}

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
    aead_.Seal(SegmentNonce(segment_++, false), "", {pending_.data() + sealed, kSegment}, out_);
    sealed += kSegment;
  }
  pending_.erase(0, sealed);
  if (ended_ && !finished_ && pending_.size() <= kSegment) {
    aead_.Seal(SegmentNonce(segment_, true), "", pending_, out_);
    pending_.clear();
    finished_ = true;
  }
  return out_;
}

UnsealSource::UnsealSource(const RandomAccess& payload, PieceBudget& budget,
                           absl::string_view file_key, int64_t plaintext_size, int64_t offset,
                           int64_t size_bytes)
    : payload_(payload),
      aead_(file_key),
      plaintext_size_(plaintext_size),
      offset_(offset),
      left_(size_bytes),
      plain_(budget, plaintext_size) {
  CHECK(offset >= 0 && size_bytes >= 0 && size_bytes <= plaintext_size - offset);
}

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
  const char* sealed = sealed_.data();
  for (int64_t segment = first_wanted; segment <= last_wanted; ++segment) {
    const int64_t at = (segment - first_wanted) * kSegmentSize;
    const int64_t size = std::min(kSegmentSize, plain_size - at);
    const auto sealed_size = static_cast<size_t>(size + kTagSize);
    if (!aead_.Open(SegmentNonce(static_cast<uint64_t>(segment), segment == last), "",
                    {sealed, sealed_size}, plain + at)) {
      return MakeError(Reason::kBlobDamaged,
                       "sealed content was changed, or sealed under another key");
    }
    sealed += sealed_size;
  }
  const int64_t skip = offset_ - begin;
  const int64_t size = std::min(plain_size - skip, left_);
  offset_ += size;
  left_ -= size;
  return absl::string_view(plain + skip, static_cast<size_t>(size));
}

}  // namespace backup::crypto
