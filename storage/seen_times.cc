#include "storage/seen_times.h"

#include <utility>

#include "storage/catalog/types.h"

namespace backup::storage {

void SeenTimes::Remember(const Times& times) {
  if (times.empty()) return;
  MutexLock lock(mutex_);
  for (const auto& [id, time] : times) {
    absl::Time& latest = times_.try_emplace(id, time).first->second;
    latest = LaterContact(latest, time);
  }
}

SeenTimes::Times SeenTimes::Take() {
  MutexLock lock(mutex_);
  return std::exchange(times_, {});
}

}  // namespace backup::storage
