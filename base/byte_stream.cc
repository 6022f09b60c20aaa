#include "base/byte_stream.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace backup {

SharedPiece CopyPiece(absl::string_view bytes) {
  const auto buffer = std::make_shared_for_overwrite<char[]>(bytes.size());
  bytes.copy(buffer.get(), bytes.size());
  return {buffer, bytes.size(), absl::string_view(buffer.get(), bytes.size())};
}

absl::StatusOr<int64_t> CopyAll(ByteSource& source, ByteSink& sink) {
  const LastingPieces lasting(sink, source);
  int64_t copied = 0;
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, source.Read());
    if (piece.empty()) return copied;
    RETURN_IF_ERROR(sink.Write(piece));
    copied += static_cast<int64_t>(piece.size());
  }
}

absl::StatusOr<std::string> ReadAll(ByteSource& source, size_t max_size) {
  std::string all;
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, source.Read());
    if (piece.empty()) return all;
    if (piece.size() > max_size - all.size()) {
      return MakeError(Reason::kSizeLimit, absl::StrCat("more than ", max_size, " bytes"));
    }
    all.append(piece.data(), piece.size());
  }
}

absl::StatusOr<absl::string_view> StringSource::Read() {
  const absl::string_view piece = rest_.substr(0, piece_size_);
  rest_.remove_prefix(piece.size());
  return piece;
}

absl::StatusOr<absl::string_view> ExactSource::Read() {
  if (ended_) return absl::string_view();
  ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
  if (piece.empty()) {
    ended_ = true;
    if (left_ == 0) return piece;
    return MakeError(Reason::kInvalidField,
                     absl::StrCat("the content ended ", left_, " bytes before its announced size"),
                     "encoded_size");
  }
  if (static_cast<int64_t>(piece.size()) > left_) {
    ended_ = true;
    return MakeError(Reason::kInvalidField, "there is more content than its announced size",
                     "encoded_size");
  }
  left_ -= static_cast<int64_t>(piece.size());
  return piece;
}

absl::Status StringAccess::ReadAt(int64_t offset, std::span<char> out) const {
  const int64_t wanted = static_cast<int64_t>(out.size());
  if (offset < 0 || offset > size_bytes() || wanted > size_bytes() - offset) {
    return MakeError(Reason::kBlobDamaged, "the stored content is shorter than it should be");
  }
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  return absl::OkStatus();
}

}  // namespace backup
