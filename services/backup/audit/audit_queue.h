#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/periodic_task.h"
#include "services/backup/audit/audit_log.h"
#include "storage/catalog/audit.h"
#include "storage/catalog/catalog.h"

namespace backup::audit {

// Entries for which nobody waits: of what changes nothing, as downloads, and of what was refused.
// They are in the log within about a second, many in one transaction. Nothing grows without bound,
// whoever calls: kMaxWaiting entries wait at most, and of refused calls that are alike (who, what,
// outcome) the first of a window is told by an entry, and all others by another one at its end with
// their number; of more than kMaxRefusedKinds kinds only the number. So refused calls make at most
// 2 * kMaxRefusedKinds + 1 entries in kRefusedWindow. What had no room is told by its number.
// Thread-safe.
class AuditQueue {
 public:
  static constexpr size_t kMaxWaiting = 8192;
  static constexpr size_t kMaxRefusedKinds = 32;
  static constexpr absl::Duration kRefusedWindow = absl::Minutes(10);
  // Of one transaction: about 5 ms.
  static constexpr size_t kBatch = 128;
  static constexpr absl::Duration kInterval = absl::Seconds(1);

  // Both must outlive this. `lost` counts what had no room.
  AuditQueue(storage::Catalog& catalog, const AuditLog& log, Counter lost)
      : catalog_(catalog),
        log_(log),
        lost_(lost),
        task_(kInterval, [this](const std::stop_token&) { Flush(); }) {}
  // Writes what waits.
  ~AuditQueue() { Close(); }
  AuditQueue(const AuditQueue&) = delete;
  AuditQueue& operator=(const AuditQueue&) = delete;

  void Note(storage::AuditEntry entry);
  void NoteRefused(storage::AuditEntry entry);

  // Writes what waits now, as far as that can be done; ends the window if it is over.
  void Flush() ABSL_LOCKS_EXCLUDED(mutex_);
  // The same, and ends the window in any case.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Who, what, outcome.
  using Kind = std::tuple<std::string, std::string, std::string>;
  struct Repeats {
    storage::AuditEntry last;
    int64_t count = 0;  // Beyond the first.
  };

  void NoteLocked(storage::AuditEntry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndWindow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteWaiting() ABSL_LOCKS_EXCLUDED(mutex_);
  // False if it could not be done.
  bool WriteBatch() ABSL_LOCKS_EXCLUDED(mutex_);

  storage::Catalog& catalog_;
  const AuditLog& log_;
  Counter lost_;
  Mutex flush_mutex_;  // Held while entries are written: they keep their order.
  Mutex mutex_;
  std::deque<storage::AuditEntry> waiting_ ABSL_GUARDED_BY(mutex_);
  int64_t without_room_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Kind, Repeats> refused_ ABSL_GUARDED_BY(mutex_);
  std::optional<storage::AuditEntry> other_refused_ ABSL_GUARDED_BY(mutex_);  // The last of them.
  int64_t other_refused_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<std::chrono::steady_clock::time_point> window_end_ ABSL_GUARDED_BY(mutex_);
  PeriodicTask task_;  // Last: starts when all else is ready.
};

}  // namespace backup::audit
