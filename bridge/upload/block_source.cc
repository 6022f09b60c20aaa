#include "bridge/upload/block_source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bridge/wire/content_size.h"

namespace backup::bridge {

BlockSource::BlockSource(const PartsInput& input, const wire::DecodedHead& first)
    : PartsSource(input, first), traits_(*input.dialect.content().blocks) {
  set_status(BeginFirst(first));
}

absl::Status BlockSource::BeginFirst(const wire::DecodedHead& first) {
  const uint64_t size = first_file().blocks_size;
  if (size > wire::kMaxContentSize || first.body_size == 0 || first.body_size > size) {
    return absl::InvalidArgumentError(absl::StrCat("the first block of a file has ",
                                                   first.body_size, " bytes, all together ", size));
  }
  left_ = size - first.body_size;
  count_ = 1 + (left_ + traits_.size - 1) / traits_.size;
  return BeginSegment(first.head_size + first.body_size, first.body_size, first.body_size);
}

absl::Status BlockSource::BeginNext() {
  const uint64_t content = std::min(left_, traits_.size);
  const uint64_t body = traits_.last_is_filled ? traits_.size : content;
  left_ -= content;
  return BeginSegment(body, body, content);
}

}  // namespace backup::bridge
