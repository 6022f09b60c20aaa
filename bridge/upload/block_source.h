#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bridge/upload/parts_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// The content of a file that comes in blocks, each a request of its own with a segment that is
// encrypted on its own: docs/wire-protocol.md, "Blocks". How many there are shows only at the end.
class BlockSource final : public PartsSource {
 public:
  // `first` is a decoded SendFile that is a block. Its body has not been read. `take_padding` is
  // called behind each block, with the size of the whole request. If a block may be the last, but
  // need not, it is if the next does not come within `patience`.
  BlockSource(Connection& connection, const wire::Dialect& dialect, const wire::DecodedHead& first,
              const BodyLimits& limits, BodyBudget& budget,
              std::function<void(uint64_t)> take_padding, absl::Duration patience);

 private:
  bool is_last() const override { return is_last_; }
  absl::Status BeginNext() override;
  absl::Status EndPart() override;

  absl::Status Begin(const wire::DecodedHead& block);
  // Whether the blocks so far hold the whole file; InvalidArgument if they never can.
  absl::StatusOr<bool> HaveAll();

  const std::function<void(uint64_t)> take_padding_;
  const absl::Duration patience_;
  const uint64_t full_size_;   // Of every block's body but the last one's, which may be smaller.
  uint64_t request_size_ = 0;  // Of the present block.
  uint64_t body_size_ = 0;
  uint64_t blocks_ = 0;
  uint64_t bodies_size_ = 0;
  bool is_last_ = false;
};

}  // namespace backup::bridge
