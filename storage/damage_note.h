#pragma once

#include <atomic>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "glog/logging.h"

namespace backup::storage {

// The first damage that was met in a catalog. Thread-safe.
class DamageNote {
 public:
  void Note(const absl::Status& damage) {
    MutexLock lock(mutex_);
    if (is_damaged_.exchange(true)) return;
    damage_ = damage;
    LOG(ERROR) << "nothing is written to the catalog any more: " << damage.message();
  }
  // OK, or what was noted.
  absl::Status damage() {
    if (!is_damaged_.load()) return absl::OkStatus();
    MutexLock lock(mutex_);
    return damage_;
  }

 private:
  std::atomic<bool> is_damaged_ = false;  // So that nobody waits as long as there is none.
  Mutex mutex_;
  absl::Status damage_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
