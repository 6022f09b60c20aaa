#include "storage/sqlite/seen_times.h"

#include <algorithm>
#include <utility>

namespace backup::storage {

void SeenTimes::Remember(const Times& times) {
  if (times.empty()) return;
  MutexLock lock(mutex_);
  for (const auto& [id, time] : times) {
    absl::Time& latest = times_.try_emplace(id, time).first->second;
    latest = std::max(latest, time);
  }
}

SeenTimes::Times SeenTimes::Take() {
  MutexLock lock(mutex_);
  return std::exchange(times_, {});
}

absl::Status NoteSeen(Database& database, const ClientId& id, absl::Time now) {
  return database
      .Prepare("UPDATE clients SET last_seen_time = max(last_seen_time, ?) WHERE client_id = ?")
      .Bind(absl::ToUnixMicros(now))
      .BindBlob(id.bytes())
      .Run();
}

}  // namespace backup::storage
