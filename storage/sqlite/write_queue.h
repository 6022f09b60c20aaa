#pragma once

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
#include "storage/space_reserve.h"
#include "storage/sqlite/database.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// The one writer of a catalog, with group commit: a thread takes whatever work waits, at most
// kMaxBatch pieces, and commits what all of it changed together, so that one sync of the disk
// serves many callers. What finds no room runs again, as often as the reserve gives some up. It
// also empties the log, which stays within kMaxLogBytes as long as no reader hinders it.
// Thread-safe.
class WriteQueue {
 public:
  using Work = std::function<absl::Status(Database&)>;
  using Done = std::function<void(const absl::Status&)>;

  static constexpr size_t kMaxBatch = 64;
  // More waiting pieces of work than that are turned away.
  static constexpr size_t kMaxWaiting = 8192;
  // From so many bytes of log on it is emptied; from half a small reserve on.
  static constexpr int64_t kMaxLogBytes = int64_t{32} << 20;
  static_assert(kMaxLogBytes <= SpaceReserve::kMaxBytes / 2);

  // `reserve` may be null; else it must outlive this. `throttle`, if there is one, is told how long
  // commits take, but not of those that only low-priority threads wait for: these are what gives
  // way.
  explicit WriteQueue(std::unique_ptr<Database> database, size_t max_waiting = kMaxWaiting,
                      const StorageMetrics& metrics = {}, SpaceReserve* reserve = nullptr,
                      std::shared_ptr<BulkThrottle> throttle = nullptr);
  // Finishes what waits.
  ~WriteQueue();

  // Runs `work` in a savepoint, and `done` when its batch has ended, both on the writer's thread,
  // which they must not block; in the order of the calls. `done` gets what `work` returned once the
  // batch is committed and durable: an error of `work` undoes only that work. If the transaction of
  // the batch ends in any other way, all of the batch is undone, and every `done` of it gets that
  // error, whatever its work returned. Reason OVERLOADED if too many wait: at once, on this thread,
  // and `work` does not run.
  void Submit(Work work, Done done) { Add({std::move(work), std::move(done)}); }
  // The same for what cannot be part of a transaction: it runs alone and in none.
  void SubmitAlone(Work work, Done done) { Add({std::move(work), std::move(done), true}); }

 private:
  struct Entry {
    Work work;
    Done done;
    bool is_alone = false;
    bool is_patient = IsLowPriority();  // Who submits it.
    absl::Status result = {};           // Of the work.
  };

  void Add(Entry entry);
  void WriteBatches();
  // What waits; empty at the end.
  std::vector<Entry> TakeWaiting();
  // Runs and commits entries from the first on, as many as make one batch, and tells them.
  // Returns the rest.
  std::span<Entry> WriteOneBatch(std::span<Entry> entries);
  // Runs and commits all of it, or as much as may be in one transaction, which `batch` becomes. An
  // error undoes all of it.
  absl::Status WriteBatch(std::span<Entry>& batch);
  // Runs the work and undoes it if it fails. An error is one of the batch.
  absl::Status RunInSavepoint(Entry& entry);
  absl::Status Commit(std::span<const Entry> batch);
  // Runs `attempt` until it is not for want of room that it fails, or the reserve is used up, or it
  // is not known what became of it.
  absl::Status RunWithReserve(const std::function<absl::Status()>& attempt);
  void CheckpointIfDue();

  const std::unique_ptr<Database> database_;
  const size_t max_waiting_;
  const StorageMetrics metrics_;
  const std::shared_ptr<BulkThrottle> throttle_;
  SpaceReserve* const reserve_;
  const int64_t max_log_pages_;
  const int64_t max_batch_bytes_;
  int64_t copied_log_pages_ = 0;  // The log's pages at the last checkpoint. Of the writer's thread.
  const GaugeScope writer_count_{metrics_.writers};
  Mutex mutex_;
  CondVar arrived_;
  std::deque<Entry> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread writer_;  // Last: starts when all else is ready.
};

}  // namespace backup::storage
