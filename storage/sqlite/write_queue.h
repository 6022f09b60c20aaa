#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "storage/sqlite/database.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// The one writer of a catalog, with group commit: a thread takes whatever work waits, at most
// kMaxBatch pieces, and commits what all of it changed together, so that one sync of the disk
// serves many callers. Thread-safe.
class WriteQueue {
 public:
  using Work = std::function<absl::Status(Database&)>;
  using Done = std::function<void(const absl::Status&)>;

  static constexpr size_t kMaxBatch = 64;
  // More waiting pieces of work than that are turned away.
  static constexpr size_t kMaxWaiting = 8192;

  explicit WriteQueue(std::unique_ptr<Database> database, size_t max_waiting = kMaxWaiting,
                      const StorageMetrics& metrics = {});
  // Finishes what waits.
  ~WriteQueue();

  // Runs `work` in a savepoint, and `done` when its batch has ended, both on the writer's thread,
  // which they must not block; in the order of the calls. `done` gets what `work` returned once the
  // batch is committed and durable: an error of `work` undoes only that work. If the transaction of
  // the batch ends in any other way, all of the batch is undone, and every `done` of it gets that
  // error, whatever its work returned. Reason OVERLOADED if too many wait: at once, on this thread,
  // and `work` does not run.
  void Submit(Work work, Done done);

 private:
  struct Entry {
    Work work;
    Done done;
    absl::Status result;  // Of the work.
  };

  void WriteBatches();
  // Runs and commits all of it. An error undoes all of it.
  absl::Status WriteBatch(std::vector<Entry>& batch);
  // Runs the work and undoes it if it fails. An error is one of the batch.
  absl::Status RunInSavepoint(Entry& entry);
  absl::Status Commit();

  const std::unique_ptr<Database> database_;
  const size_t max_waiting_;
  const StorageMetrics metrics_;
  const GaugeScope writer_count_{metrics_.writers};
  Mutex mutex_;
  CondVar arrived_;
  std::deque<Entry> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread writer_;  // Last: starts when all else is ready.
};

}  // namespace backup::storage
