#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/metrics.h"

namespace backup::bridge {

// The memory that all spooled bodies may take together. Thread-safe.
class SpoolBudget {
 public:
  // `used` tells how much of it is taken.
  SpoolBudget(size_t total_bytes, Gauge used) : total_bytes_(total_bytes), used_gauge_(used) {}

  // Takes it in any case; false if that is more than there is.
  bool Take(size_t size_bytes);
  void GiveBack(size_t size_bytes);

 private:
  const size_t total_bytes_;
  const Gauge used_gauge_;
  std::atomic<size_t> used_bytes_ = 0;
};

// A body whose beginning can be read again: what was read is kept as long as it fits. Used by one
// thread at a time.
class SpooledBody {
 public:
  // Keeps at most `limit` bytes, and only while `budget` has room. Both must outlive this.
  SpooledBody(ByteSource& source, size_t limit, SpoolBudget& budget)
      : source_(source), limit_(limit), budget_(budget) {}
  ~SpooledBody() { budget_.GiveBack(taken_bytes_); }
  SpooledBody(const SpooledBody&) = delete;
  SpooledBody& operator=(const SpooledBody&) = delete;

  // From the beginning again. Only while can_restart().
  void Restart() { replay_at_ = 0; }
  bool can_restart() const { return fits_ && status_.ok(); }

  // The next piece; an empty one at the end.
  absl::StatusOr<SharedPiece> Read();

 private:
  void Keep(const SharedPiece& piece);
  bool Take(size_t size_bytes);

  ByteSource& source_;
  const size_t limit_;
  SpoolBudget& budget_;
  std::vector<SharedPiece> spool_;  // The pieces that were read so far, if they fit,
  size_t size_bytes_ = 0;           // with this many bytes,
  size_t taken_bytes_ = 0;          // for which this is taken of the budget.
  size_t replay_at_ = 0;
  bool fits_ = true;
  absl::Status status_;
};

}  // namespace backup::bridge
