#include "storage/sqlite/write_queue.h"

#include <chrono>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {

WriteQueue::WriteQueue(std::unique_ptr<Database> database, size_t max_waiting,
                       const StorageMetrics& metrics)
    : database_(std::move(database)),
      max_waiting_(max_waiting),
      metrics_(metrics),
      writer_([this] { WriteBatches(); }) {}

WriteQueue::~WriteQueue() {
  MutexLock lock(mutex_);
  ending_ = true;
  arrived_.NotifyOne();
}

absl::Status WriteQueue::Run(Work work) {
  Entry entry;
  entry.work = std::move(work);
  {
    MutexLock lock(mutex_);
    if (waiting_.size() >= max_waiting_) {
      return MakeError(Reason::kOverloaded,
                       "too many requests wait for the catalog; try again later", "catalog");
    }
    waiting_.push_back(&entry);
    if (waiting_.size() == 1) arrived_.NotifyOne();  // Else it is awake, or about to look again.
  }
  MutexLock lock(entry.mutex);
  while (!entry.done) entry.finished.Wait(entry.mutex);
  return entry.result;
}

void WriteQueue::WriteBatches() {
  while (true) {
    std::deque<Entry*> batch;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !ending_) arrived_.Wait(mutex_);
      if (waiting_.empty()) return;
      while (!waiting_.empty() && batch.size() < kMaxBatch) {
        batch.push_back(waiting_.front());
        waiting_.pop_front();
      }
    }
    WriteBatch(batch);
    for (Entry* entry : batch) {
      MutexLock lock(entry->mutex);
      entry->done = true;
      entry->finished.NotifyOne();
    }
  }
}

void WriteQueue::WriteBatch(const std::deque<Entry*>& batch) {
  const absl::Status committed = Commit(batch);
  if (committed.ok()) return;
  // Some errors end the transaction on their own, and then there is nothing left to roll back.
  if (database_->InTransaction()) database_->Prepare("ROLLBACK").Run().IgnoreError();
  for (Entry* entry : batch) entry->result = committed;
}

absl::Status WriteQueue::Commit(const std::deque<Entry*>& batch) {
  RETURN_IF_ERROR(database_->Prepare("BEGIN IMMEDIATE").Run());
  for (Entry* entry : batch) {
    entry->result = RunInSavepoint(entry->work);
    if (!database_->InTransaction()) return entry->result;
  }
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status committed = database_->Prepare("COMMIT").Run();
  metrics_.commit_duration.Observe(absl::FromChrono(std::chrono::steady_clock::now() - begin));
  return committed;
}

absl::Status WriteQueue::RunInSavepoint(const Work& work) {
  RETURN_IF_ERROR(database_->Prepare("SAVEPOINT work").Run());
  absl::Status result = work(*database_);
  if (!database_->InTransaction()) return result;
  if (!result.ok()) RETURN_IF_ERROR(database_->Prepare("ROLLBACK TO work").Run());
  RETURN_IF_ERROR(database_->Prepare("RELEASE work").Run());
  return result;
}

}  // namespace backup::storage
