#include "bridge/upload/block_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

constexpr uint64_t kCipherBlockSize = 16;

}  // namespace

BlockSource::BlockSource(Connection& connection, const wire::Dialect& dialect,
                         const wire::DecodedHead& first, const BodyLimits& limits,
                         BodyBudget& budget, std::function<void(uint64_t)> take_padding,
                         absl::Duration patience)
    : PartsSource(connection, dialect, first, limits, budget),
      take_padding_(std::move(take_padding)),
      patience_(patience),
      full_size_(first.body_size) {
  set_status(Begin(first));
}

absl::Status BlockSource::BeginNext() {
  ASSIGN_OR_RETURN(const wire::DecodedHead block, ReadNextHead());
  return Begin(block);
}

absl::Status BlockSource::Begin(const wire::DecodedHead& block) {
  const auto& file = std::get<wire::SendFile>(block.request.operation);
  if (file.content_size != first_file().content_size)
    return absl::InvalidArgumentError("a block tells another size of the file than the first");
  if (block.body_size > full_size_) {
    return absl::InvalidArgumentError(
        absl::StrCat("a block of ", block.body_size, " bytes comes after those of ", full_size_));
  }
  request_size_ = block.head_size + block.body_size;
  body_size_ = block.body_size;
  BeginSegment(body_size_, body_size_);
  return absl::OkStatus();
}

absl::Status BlockSource::EndPart() {
  ++blocks_;
  bodies_size_ += body_size_;
  take_padding_(request_size_);
  ASSIGN_OR_RETURN(is_last_, HaveAll());
  return absl::OkStatus();
}

// The content size is the sum of the bodies with some clients, and of their plaintexts with others;
// only sizes of bodies show here. A full block holds a plaintext of 16 bytes less, or up to 1 byte.
absl::StatusOr<bool> BlockSource::HaveAll() {
  const uint64_t file_size = first_file().content_size;
  const bool is_full = body_size_ == full_size_;
  if (bodies_size_ < file_size) {
    if (is_full) return false;
    return absl::InvalidArgumentError(absl::StrCat("after ", bodies_size_, " of ", file_size,
                                                   " bytes comes a block that is not full"));
  }
  const uint64_t least_plaintext = blocks_ * std::max<uint64_t>(full_size_ - kCipherBlockSize, 1);
  return !is_full || least_plaintext >= file_size || !MoreFollows(patience_);
}

}  // namespace backup::bridge
