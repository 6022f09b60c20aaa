#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "storage/sqlite/database.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// The one writer of a catalog, with group commit: a thread takes whatever transactions wait, at
// most kMaxBatch, runs each in a savepoint of its own, and commits them together, so that one sync
// of the disk serves many callers. Thread-safe.
class WriteQueue {
 public:
  using Work = std::function<absl::Status(Database&)>;

  static constexpr size_t kMaxBatch = 64;
  // More waiting callers than that are turned away.
  static constexpr size_t kMaxWaiting = 8192;

  explicit WriteQueue(std::unique_ptr<Database> database, size_t max_waiting = kMaxWaiting,
                      const StorageMetrics& metrics = {});
  // Finishes what waits.
  ~WriteQueue();

  // Runs `work` on the writer's thread. OK means committed and durable. An error of `work` undoes
  // only that work; an error of the commit undoes all of the batch, and every caller gets it.
  // Reason OVERLOADED if too many wait.
  absl::Status Run(Work work);

 private:
  // A caller that waits. Each has a lock of its own: with one for all, those that a commit wakes
  // would only queue up for it again.
  struct Entry {
    Work work;
    absl::Status result;  // Read once it is done.
    Mutex mutex;
    CondVar finished;
    bool done ABSL_GUARDED_BY(mutex) = false;
  };

  void WriteBatches();
  void WriteBatch(const std::deque<Entry*>& batch);
  absl::Status Commit(const std::deque<Entry*>& batch);
  absl::Status RunInSavepoint(const Work& work);

  const std::unique_ptr<Database> database_;
  const size_t max_waiting_;
  const StorageMetrics metrics_;
  const GaugeScope writer_count_{metrics_.writers};
  Mutex mutex_;
  CondVar arrived_;
  std::deque<Entry*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread writer_;  // Last: starts when all else is ready.
};

}  // namespace backup::storage
