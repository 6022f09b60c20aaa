#include "content/encoding.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace backup::content {

absl::Status TooLarge(int64_t max_size_bytes) {
  return MakeError(Reason::kSizeLimit,
                   absl::StrCat("a file has at most ", max_size_bytes, " bytes"),
                   absl::StrCat(max_size_bytes));
}

absl::StatusOr<absl::string_view> WholeEncoded::Read() {
  ASSIGN_OR_RETURN(const absl::string_view piece, exact_.Read());
  sums_.Update(piece);
  return piece;
}

absl::StatusOr<absl::string_view> BoundedEncoded::Read() {
  ASSIGN_OR_RETURN(const absl::string_view piece, chunks_.Read());
  left_ -= static_cast<int64_t>(piece.size());
  if (left_ < 0) return TooLarge(max_size_bytes_);
  return piece;
}

}  // namespace backup::content
