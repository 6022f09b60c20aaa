#include "crypto/segments.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::crypto {
namespace {

constexpr size_t kSizeFieldSize = 4;

uint32_t DecodeSize(absl::string_view field) {
  uint32_t size = 0;
  for (size_t i = 0; i < field.size(); ++i)
    size |= uint32_t{static_cast<uint8_t>(field[i])} << (8 * i);
  return size;
}

// Undoes that a segment's first block was mixed with the block before it.
void Unmix(absl::string_view block_before, char* decrypted) {
  for (size_t i = 0; i < kCipherBlockSize; ++i)
    decrypted[i] = static_cast<char>(decrypted[i] ^ block_before[i]);
}

// How long the PKCS#7 padding at the end of the last block is.
absl::StatusOr<size_t> PaddingSize(absl::string_view last_block) {
  const auto size = static_cast<unsigned char>(last_block.back());
  if (size < 1 || size > kCipherBlockSize) return ContentRejected();
  const absl::string_view padding = last_block.substr(kCipherBlockSize - size);
  if (!std::all_of(padding.begin(), padding.end(),
                   [&](char byte) { return byte == last_block.back(); }))
    return ContentRejected();
  return size;
}

}  // namespace

absl::StatusOr<size_t> SegmentDecryptor::Update(absl::string_view piece, char* out) {
  char* end = out;
  while (!piece.empty()) {
    RETURN_IF_ERROR(in_segment_ ? TakeContent(piece, end) : TakeSize(piece, end));
  }
  return static_cast<size_t>(end - out);
}

absl::Status SegmentDecryptor::TakeSize(absl::string_view& piece, char*& out) {
  if (segment_count_ != 0 && segments_ == segment_count_) {
    return MakeError(Reason::kInvalidField, "there are more segments than segment_count",
                     "header.segment_count");
  }
  const size_t taken = std::min(piece.size(), kSizeFieldSize - size_field_.size());
  size_field_.append(piece.data(), taken);
  piece.remove_prefix(taken);
  if (size_field_.size() < kSizeFieldSize) return absl::OkStatus();
  left_ = DecodeSize(size_field_);
  size_field_.clear();
  ++segments_;
  in_segment_ = true;
  segment_.Restart();
  // An empty segment ends here, and is refused like other bad padding.
  return TakeContent(piece, out);
}

absl::Status SegmentDecryptor::TakeContent(absl::string_view& piece, char*& out) {
  const absl::string_view content = piece.substr(0, left_);
  piece.remove_prefix(content.size());
  left_ -= static_cast<uint32_t>(content.size());
  ciphertext_size_ += static_cast<int64_t>(content.size());
  ciphertext_sums_.Update(content);
  ASSIGN_OR_RETURN(const size_t plain_size, segment_.Update(content, out));
  out += plain_size;
  if (left_ > 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const size_t last_size, segment_.Finish(out));
  out += last_size;
  in_segment_ = false;
  return absl::OkStatus();
}

absl::StatusOr<size_t> SegmentDecryptor::Finish(char*) {
  const bool whole = !in_segment_ && size_field_.empty();
  const bool enough = segment_count_ == 0 ? segments_ > 0 : segments_ == segment_count_;
  if (!whole || !enough) {
    return MakeError(Reason::kInvalidField, "the stream ended before the last segment did",
                     "header.segment_count");
  }
  return size_t{0};
}

EqualSegmentDecryptor::EqualSegmentDecryptor(absl::string_view key, const CbcFormat& format,
                                             int64_t size_bytes)
    : format_(format),
      size_bytes_(size_bytes),
      chain_(key, {.padding = CbcFormat::Padding::kZeros}),
      last_block_(kCipherBlockSize, '\0') {}

absl::StatusOr<size_t> EqualSegmentDecryptor::Update(absl::string_view piece, char* out) {
  size_t size = 0;
  if (!block_.empty()) {
    const size_t taken = std::min(piece.size(), kCipherBlockSize - block_.size());
    block_.append(piece.data(), taken);
    piece.remove_prefix(taken);
    if (block_.size() < kCipherBlockSize) return size_t{0};
    ASSIGN_OR_RETURN(size, DecryptBlocks(block_, out));
  }
  const size_t rest = piece.size() % kCipherBlockSize;
  block_ = std::string(piece.substr(piece.size() - rest));
  piece.remove_suffix(rest);
  ASSIGN_OR_RETURN(const size_t more, DecryptBlocks(piece, out + size));
  return size + more;
}

absl::StatusOr<size_t> EqualSegmentDecryptor::DecryptBlocks(absl::string_view blocks, char* out) {
  if (blocks.empty()) return size_t{0};
  if (std::ssize(blocks) > size_bytes_ - done_) return ContentRejected();
  ASSIGN_OR_RETURN(const size_t size, chain_.Update(blocks, out));
  char* end = out;
  for (size_t at = 0; at < size;) {
    if (done_of_segment_ == 0)
      Unmix(at == 0 ? absl::string_view(last_block_) : blocks.substr(at - kCipherBlockSize),
            out + at);
    const size_t part = std::min(size - at, static_cast<size_t>(segment_left()));
    ASSIGN_OR_RETURN(const absl::string_view plain, Plaintext(absl::string_view(out + at, part)));
    std::memmove(end, plain.data(), plain.size());
    end += plain.size();
    at += part;
  }
  last_block_ = std::string(blocks.substr(size - kCipherBlockSize));
  return static_cast<size_t>(end - out);
}

int64_t EqualSegmentDecryptor::segment_left() const {
  return std::min(format_.segment_size - done_of_segment_, size_bytes_ - done_);
}

absl::StatusOr<absl::string_view> EqualSegmentDecryptor::Plaintext(absl::string_view decrypted) {
  const bool is_begin = done_of_segment_ == 0;
  const bool is_end = std::ssize(decrypted) == segment_left();
  done_ += std::ssize(decrypted);
  done_of_segment_ = is_end ? 0 : done_of_segment_ + std::ssize(decrypted);
  if (is_begin && format_.initial_vector == CbcFormat::InitialVector::kInFront)
    decrypted.remove_prefix(kCipherBlockSize);
  if (is_end && format_.padding != CbcFormat::Padding::kZeros) {
    if (decrypted.empty()) return TooShortForItsVector();
    ASSIGN_OR_RETURN(const size_t padding,
                     PaddingSize(decrypted.substr(decrypted.size() - kCipherBlockSize)));
    decrypted.remove_suffix(padding);
  }
  return decrypted;
}

absl::StatusOr<size_t> EqualSegmentDecryptor::Finish(char*) {
  if (!block_.empty()) return NoWholeBlocks();
  if (size_bytes_ == 0 && format_.initial_vector == CbcFormat::InitialVector::kInFront)
    return TooShortForItsVector();
  const bool may_be_empty = format_.padding == CbcFormat::Padding::kZeros;
  if (done_ != size_bytes_ || (size_bytes_ == 0 && !may_be_empty)) return ContentRejected();
  return size_t{0};
}

}  // namespace backup::crypto
