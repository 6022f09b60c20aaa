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
// serves many callers. Nobody has to wait for it on a thread. Thread-safe.
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

  // Runs `work` on the writer's thread; it changes the database by calling Run(), any number of
  // times. Then calls `done`, on the same thread, which it must not block: with OK if all that was
  // changed is committed and durable, with an error if all of it was undone. Reason OVERLOADED if
  // too many wait: at once, and `work` does not run.
  void Start(std::function<void()> work, Done done);

  // Runs `work` on the writer's thread, in a savepoint. OK means committed and durable, or, if this
  // is called by started work, that it will be if that is done with OK. An error of `work` undoes
  // only that work; an error of the commit undoes all of the batch, and every caller gets it.
  // Reason OVERLOADED if too many wait.
  absl::Status Run(const Work& work);

  // What started work reads from, its own changes included; null to everybody else.
  Database* OwnDatabase();

 private:
  struct Entry {
    std::function<void()> work;
    Done done;
  };

  void WriteBatches();
  // Runs and commits all of it.
  absl::Status WriteBatch(const std::vector<Entry>& batch);
  absl::Status RunInSavepoint(const Work& work);
  absl::Status TryInSavepoint(const Work& work);
  absl::Status Commit();

  const std::unique_ptr<Database> database_;
  const size_t max_waiting_;
  const StorageMetrics metrics_;
  const GaugeScope writer_count_{metrics_.writers};
  absl::Status broken_by_;  // What ended the batch's transaction too early. The writer's.
  Mutex mutex_;
  CondVar arrived_;
  std::deque<Entry> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread writer_;  // Last: starts when all else is ready.
};

}  // namespace backup::storage
