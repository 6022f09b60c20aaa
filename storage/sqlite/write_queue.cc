#include "storage/sqlite/write_queue.h"

#include <chrono>

#include "base/error.h"
#include "base/status_macros.h"

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

void WriteQueue::Submit(Work work, Done done) {
  {
    MutexLock lock(mutex_);
    if (waiting_.size() < max_waiting_) {
      waiting_.push_back({std::move(work), std::move(done), absl::OkStatus()});
      if (waiting_.size() == 1) arrived_.NotifyOne();  // Else it is awake, or about to look again.
      return;
    }
  }
  done(MakeError(Reason::kOverloaded, "too many requests wait for the catalog; try again later",
                 "catalog"));
}

void WriteQueue::WriteBatches() {
  std::vector<Entry> batch;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !ending_) arrived_.Wait(mutex_);
      if (waiting_.empty()) return;
      while (!waiting_.empty() && batch.size() < kMaxBatch) {
        batch.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
    }
    const absl::Status committed = WriteBatch(batch);
    for (const Entry& entry : batch) entry.done(committed.ok() ? entry.result : committed);
    batch.clear();
  }
}

absl::Status WriteQueue::WriteBatch(std::vector<Entry>& batch) {
  RETURN_IF_ERROR(database_->Begin(Database::Mode::kReadWrite));
  for (Entry& entry : batch) {
    if (absl::Status error = RunInSavepoint(entry); !error.ok()) {
      database_->Rollback();
      return error;
    }
  }
  return Commit();
}

absl::Status WriteQueue::RunInSavepoint(Entry& entry) {
  RETURN_IF_ERROR(database_->Prepare("SAVEPOINT work").Run());
  entry.result = entry.work(*database_);
  // Whatever it returned: it may not have noticed, and what the batch did before is gone too.
  RETURN_IF_ERROR(database_->CheckTransaction());
  if (!entry.result.ok()) RETURN_IF_ERROR(database_->Prepare("ROLLBACK TO work").Run());
  return database_->Prepare("RELEASE work").Run();
}

absl::Status WriteQueue::Commit() {
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status committed = database_->Commit();
  metrics_.commit_duration.Observe(absl::FromChrono(std::chrono::steady_clock::now() - begin));
  return committed;
}

}  // namespace backup::storage
