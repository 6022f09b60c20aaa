#pragma once

#include <map>

#include "absl/time/time.h"
#include "base/ids.h"
#include "base/mutex.h"

namespace backup::storage {

// When clients were seen that changed nothing else. Each alone is not worth a sync of the disk, so
// they are remembered here until something else is written. Thread-safe.
class SeenTimes {
 public:
  using Times = std::map<ClientId, absl::Time>;

  void Remember(const Times& times);
  // All that is remembered, which is forgotten.
  Times Take();

 private:
  Mutex mutex_;
  Times times_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
