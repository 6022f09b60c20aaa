#include "crypto/unpadding.h"

#include <algorithm>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::crypto {

absl::StatusOr<size_t> UnpaddingDecryptor::Update(absl::string_view piece, char* out) {
  ASSIGN_OR_RETURN(const size_t size, padded_->Update(piece, out));
  return Cut(absl::string_view(out, size));
}

absl::StatusOr<size_t> UnpaddingDecryptor::Finish(char* out) {
  ASSIGN_OR_RETURN(const size_t size, padded_->Finish(out));
  return Cut(absl::string_view(out, size));
}

absl::StatusOr<size_t> UnpaddingDecryptor::Cut(absl::string_view decrypted) {
  const int64_t plain_size = std::min(left_, static_cast<int64_t>(decrypted.size()));
  left_ -= plain_size;
  const absl::string_view padding = decrypted.substr(static_cast<size_t>(plain_size));
  padding_size_ += padding.size();
  if (padding_size_ >= kCipherBlockSize) {
    return MakeError(Reason::kContentRejected,
                     "the content is longer than its original size and padding");
  }
  if (only_zeros_ &&
      !std::all_of(padding.begin(), padding.end(), [](char byte) { return byte == '\0'; }))
    return ContentRejected();
  return static_cast<size_t>(plain_size);
}

}  // namespace backup::crypto
