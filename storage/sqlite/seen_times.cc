#include "storage/sqlite/seen_times.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "storage/catalog/types.h"
#include "storage/sqlite/rows.h"

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

absl::Status NoteSeen(Database& database, const ClientId& id, absl::Time now) {
  const int64_t contact = absl::ToUnixMicros(now);
  RETURN_IF_ERROR(database
                      .Prepare("UPDATE clients SET last_seen_time = ? WHERE client_id = ? AND "
                               "last_seen_time NOT BETWEEN ? AND ?")
                      .Bind(contact)
                      .BindBlob(id.bytes())
                      .Bind(contact)
                      .Bind(absl::ToUnixMicros(std::max(now, SystemClock().Now()) + kMaxClockStep))
                      .Run());
  return MendRegistration(database, id, now);
}

}  // namespace backup::storage
