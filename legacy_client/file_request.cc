#include "legacy_client/file_request.h"

#include <algorithm>

#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::legacy_client {
namespace {

constexpr char kZeros[4096] = {};

}  // namespace

absl::StatusOr<absl::string_view> FileRequest::Read() {
  while (true) {
    if (part_ && part_->content_size > 0) return ReadContent();
    if (part_ && part_->padding_size > 0) return ReadPadding();
    part_ = plan_.Part(next_part_);
    if (!part_) break;
    ++next_part_;
    if (!part_->head.empty()) return part_->head;
  }
  // The content must see its end read: only then are its checksums known.
  ASSIGN_OR_RETURN(const absl::string_view rest, content_.Read());
  CHECK(rest.empty() && piece_.empty());
  return rest;
}

absl::StatusOr<absl::string_view> FileRequest::ReadContent() {
  if (piece_.empty()) {
    ASSIGN_OR_RETURN(piece_, content_.Read());
    CHECK(!piece_.empty());
  }
  const absl::string_view taken = piece_.substr(0, static_cast<size_t>(part_->content_size));
  const auto size = static_cast<int64_t>(taken.size());
  piece_.remove_prefix(taken.size());
  part_->content_size -= size;
  content_taken_ += size;
  return taken;
}

absl::string_view FileRequest::ReadPadding() {
  const int64_t size = std::min<int64_t>(part_->padding_size, sizeof(kZeros));
  part_->padding_size -= size;
  return absl::string_view(kZeros, static_cast<size_t>(size));
}

}  // namespace backup::legacy_client
