#include "storage/sqlite/write_queue.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {

WriteQueue::WriteQueue(std::unique_ptr<Database> database)
    : database_(std::move(database)), writer_([this] { WriteBatches(); }) {}

WriteQueue::~WriteQueue() {
  MutexLock lock(mutex_);
  ending_ = true;
  arrived_.NotifyOne();
}

absl::Status WriteQueue::Run(Work work) {
  Entry entry;
  entry.work = std::move(work);
  MutexLock lock(mutex_);
  if (waiting_.size() >= kMaxWaiting) {
    return MakeError(Reason::kOverloaded, "too many requests wait for the catalog; try again later", "catalog");
  }
  waiting_.push_back(&entry);
  arrived_.NotifyOne();
  while (!entry.done) entry.finished.Wait(mutex_);
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
    MutexLock lock(mutex_);
    for (Entry* entry : batch) {
      entry->done = true;
      entry->finished.NotifyOne();
    }
  }
}

void WriteQueue::WriteBatch(const std::deque<Entry*>& batch) {
  absl::Status committed = database_->Execute("BEGIN IMMEDIATE");
  if (committed.ok()) {
    for (Entry* entry : batch) entry->result = RunInSavepoint(entry->work);
    committed = database_->Execute("COMMIT");
    // A failed commit may leave the transaction open; rolling back one that is not open only fails.
    if (!committed.ok()) database_->Execute("ROLLBACK").IgnoreError();
  }
  if (committed.ok()) return;
  for (Entry* entry : batch) entry->result = committed;
}

absl::Status WriteQueue::RunInSavepoint(const Work& work) {
  RETURN_IF_ERROR(database_->Execute("SAVEPOINT work"));
  const absl::Status result = work(*database_);
  if (!result.ok()) RETURN_IF_ERROR(database_->Execute("ROLLBACK TO work"));
  RETURN_IF_ERROR(database_->Execute("RELEASE work"));
  return result;
}

}  // namespace backup::storage
