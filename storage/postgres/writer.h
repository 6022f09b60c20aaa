#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/bulk_throttle.h"
#include "base/low_priority_thread.h"
#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/damage_note.h"
#include "storage/postgres/connector.h"
#include "storage/postgres/postgres_transaction.h"
#include "storage/seen_times.h"
#include "storage/storage_metrics.h"

namespace backup::storage::postgres {

// The one writer of a service, with group commit: a thread takes whatever work waits, at most
// kMaxBatch pieces, and commits what all of it changed together, so that one sync of the server's
// disk and one round trip to it serve many callers. Other services write at the same time: where
// they are in each other's way, the batch is undone and its works run again, one by one.
// Thread-safe.
class Writer {
 public:
  static constexpr size_t kMaxBatch = 64;
  // More waiting pieces of work than that are turned away.
  static constexpr size_t kMaxWaiting = 8192;
  // So often a piece of work is run again that others were in the way of.
  static constexpr int kMaxConflicts = 5;

  // All must outlive this. `throttle`, if there is one, is told how long commits take, but not of
  // those that only low-priority threads wait for.
  Writer(Connector& connector, DamageNote& damage, const StorageMetrics& metrics,
         std::shared_ptr<BulkThrottle> throttle);
  // Finishes what waits.
  ~Writer();

  // As Catalog::Submit().
  void Submit(Catalog::Work work, Catalog::Done done);
  int64_t changes() const { return changes_.load(); }

 private:
  struct Entry {
    Catalog::Work work;
    Catalog::Done done;
    bool is_patient = IsLowPriority();  // Who submits it.
    absl::Status result = {};           // Of the work.
    SeenTimes::Times seen = {};
  };
  // What becomes of a batch.
  enum class Ending {
    kDecided,        // It is committed, or will not be whoever tries.
    kUnknown,        // It may be committed: nobody may run it again.
    kConflict,       // All of it is undone; others were in the way.
    kNoConnection,   // All of it is undone, or never began.
    kNeedsSavepoint  // All of it is undone: a work failed that had changed something.
  };
  struct Attempt {
    Ending ending = Ending::kDecided;
    absl::Status status;  // Unless it is committed.
  };

  void Run();
  // What waits; empty at the end.
  std::vector<Entry> TakeWaiting(size_t max);
  // Writes it, and tells each entry what became of it. Returns what became of the last.
  Attempt WriteAll(std::span<Entry> batch);
  // Without a server nobody waits for others to find that out first.
  void TurnAway(const absl::Status& error);
  Attempt WriteOrReconnect(std::span<Entry> batch);
  Attempt WriteBatch(std::span<Entry> batch, bool with_savepoints);
  // Runs the works in the transaction that is begun. An error undoes all.
  absl::Status RunWorks(std::span<Entry> batch, bool with_savepoints, bool& needs_savepoints);
  absl::Status RunWork(Entry& entry);
  absl::Status NoteSeenTimes();
  Attempt Commit(std::span<Entry> batch);
  // What to do after an error before the commit.
  Attempt GiveUp(const absl::Status& error);
  void Tell(std::span<Entry> batch, const absl::Status& committed);
  absl::Status Connect();

  Connector& connector_;
  DamageNote& damage_;
  const StorageMetrics metrics_;
  const std::shared_ptr<BulkThrottle> throttle_;
  const GaugeScope writer_count_{metrics_.writers};
  std::atomic<int64_t> changes_ = 0;
  SeenTimes seen_;
  // Of the writer's thread.
  std::unique_ptr<Connection> connection_;
  BatchState state_;
  SeenTimes::Times taken_seen_;  // That the transaction notes.
  Mutex mutex_;
  CondVar arrived_;
  std::deque<Entry> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;  // Last: starts when all else is ready.
};

}  // namespace backup::storage::postgres
