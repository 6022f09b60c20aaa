#include "crypto/segments.h"

#include <algorithm>

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

}  // namespace

absl::StatusOr<size_t> SegmentDecryptor::Update(absl::string_view piece, char* out) {
  char* end = out;
  while (!piece.empty()) {
    RETURN_IF_ERROR(decryptor_ ? TakeContent(piece, end) : TakeSize(piece, end));
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
  decryptor_.emplace(key_);
  // An empty segment ends here, and is refused like other bad padding.
  return TakeContent(piece, out);
}

absl::Status SegmentDecryptor::TakeContent(absl::string_view& piece, char*& out) {
  const absl::string_view content = piece.substr(0, left_);
  piece.remove_prefix(content.size());
  left_ -= static_cast<uint32_t>(content.size());
  ciphertext_size_ += static_cast<int64_t>(content.size());
  ciphertext_sums_.Update(content);
  ASSIGN_OR_RETURN(const size_t plain_size, decryptor_->Update(content, out));
  out += plain_size;
  if (left_ > 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const size_t last_size, decryptor_->Finish(out));
  out += last_size;
  decryptor_.reset();
  return absl::OkStatus();
}

absl::StatusOr<size_t> SegmentDecryptor::Finish(char*) {
  const bool whole = !decryptor_ && size_field_.empty();
  const bool enough = segment_count_ == 0 ? segments_ > 0 : segments_ == segment_count_;
  if (!whole || !enough) {
    return MakeError(Reason::kInvalidField, "the stream ended before the last segment did",
                     "header.segment_count");
  }
  return size_t{0};
}

}  // namespace backup::crypto
