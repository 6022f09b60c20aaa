#pragma once

#include <cstdint>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/mutex.h"

namespace backup::storage::s3 {

// How many bytes some users of memory may have together. Thread-safe.
class MemoryBound {
 public:
  // Who has some already and cannot go on without more, or wants little, comes before those who
  // begin, and finds the reserve, which only these take from: else many that have begun could stop
  // each other.
  enum class For { kBeginning, kGoingOn };

  // `gauge` shows what is taken.
  MemoryBound(int64_t max_bytes, Gauge gauge, int64_t reserve_bytes = 0)
      : max_bytes_(max_bytes), reserve_bytes_(reserve_bytes), gauge_(gauge) {}
  MemoryBound(const MemoryBound&) = delete;
  MemoryBound& operator=(const MemoryBound&) = delete;

  // False if so many bytes are not left now, or within `patience`, for whom nobody waits who came
  // before: each has their turn.
  bool TryTake(int64_t bytes) { return Take(bytes, absl::ZeroDuration()); }
  bool Take(int64_t bytes, absl::Duration patience, For purpose = For::kBeginning);
  // Whether they are left or not: for what is small beside the bound, and cannot wait.
  void TakeAnyway(int64_t bytes);
  // Of those that were taken.
  void GiveBack(int64_t bytes);
  // How many were taken at once so far.
  int64_t most() const;

 private:
  const int64_t max_bytes_;
  const int64_t reserve_bytes_;
  const Gauge gauge_;
  mutable Mutex mutex_;
  CondVar changed_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t most_ ABSL_GUARDED_BY(mutex_) = 0;
  // How many bytes each of those who wait wants; the oldest first.
  std::list<int64_t> beginning_ ABSL_GUARDED_BY(mutex_);
  std::list<int64_t> going_on_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage::s3
