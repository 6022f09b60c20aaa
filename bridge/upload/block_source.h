#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "bridge/upload/parts_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// The content of a file that comes in blocks: the first with the request's head, the others bare,
// and each a segment that is encrypted on its own. Sizes tell where each ends:
// docs/wire-protocol.md, "Blocks".
class BlockSource final : public PartsSource {
 public:
  // `first` is a decoded SendFile with a blocks_size, of a dialect that has blocks. Its body has
  // not been read.
  BlockSource(const PartsInput& input, const wire::DecodedHead& first);

  // How many blocks there are.
  uint64_t count() const { return count_; }

 private:
  bool is_last() const override { return left_ == 0; }
  absl::Status BeginNext() override;
  absl::Status EndPart() override { return absl::OkStatus(); }

  absl::Status BeginFirst(const wire::DecodedHead& first);

  const wire::BlockTraits& traits_;
  uint64_t left_ = 0;  // Of the content, behind the present block.
  uint64_t count_ = 0;
};

}  // namespace backup::bridge
