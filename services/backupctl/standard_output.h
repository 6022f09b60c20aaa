#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "services/backupctl/interrupt.h"

namespace backup::ctl {

// Standard output for the bytes of files. When its reader goes away, the process ends by SIGPIPE,
// quietly, as others do. Used by one thread at a time.
class StandardOutput final : public ByteSink {
 public:
  // InvalidArgument if it is a terminal. `interrupt` must outlive it.
  static absl::StatusOr<std::unique_ptr<StandardOutput>> Open(const Interrupt& interrupt);

  // Cancelled by an interrupt, also while nobody reads.
  absl::Status Write(absl::string_view piece) override;

 private:
  StandardOutput(const Interrupt& interrupt, size_t write_size)
      : interrupt_(interrupt), write_size_(write_size) {}

  const Interrupt& interrupt_;
  const size_t write_size_;  // At most so much at once, so that a write does not wait.
};

}  // namespace backup::ctl
