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

void WriteQueue::Start(std::function<void()> work, Done done) {
  {
    MutexLock lock(mutex_);
    if (waiting_.size() < max_waiting_) {
      waiting_.push_back({std::move(work), std::move(done)});
      if (waiting_.size() == 1) arrived_.NotifyOne();  // Else it is awake, or about to look again.
      return;
    }
  }
  done(MakeError(Reason::kOverloaded, "too many requests wait for the catalog; try again later",
                 "catalog"));
}

absl::Status WriteQueue::Run(const Work& work) {
  if (OwnDatabase() != nullptr) return RunInSavepoint(work);
  absl::Status result;
  // A lock of its own: with one for all, those that a commit wakes would only queue up for it.
  Mutex mutex;
  CondVar finished;
  bool done = false;
  Start([&] { result = RunInSavepoint(work); },
        [&](const absl::Status& committed) {
          if (!committed.ok()) result = committed;
          MutexLock lock(mutex);
          done = true;
          finished.NotifyOne();
        });
  MutexLock lock(mutex);
  while (!done) finished.Wait(mutex);
  return result;
}

Database* WriteQueue::OwnDatabase() {
  return std::this_thread::get_id() == writer_.get_id() ? database_.get() : nullptr;
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
    for (const Entry& entry : batch) entry.done(committed);
    batch.clear();
  }
}

absl::Status WriteQueue::WriteBatch(const std::vector<Entry>& batch) {
  RETURN_IF_ERROR(database_->Prepare("BEGIN IMMEDIATE").Run());
  for (const Entry& entry : batch) {
    entry.work();
    // Some errors end the transaction on their own, and then there is nothing left to roll back.
    if (!database_->InTransaction()) return broken_by_;
  }
  const absl::Status committed = Commit();
  if (database_->InTransaction()) database_->Prepare("ROLLBACK").Run().IgnoreError();
  return committed;
}

absl::Status WriteQueue::RunInSavepoint(const Work& work) {
  if (!database_->InTransaction()) return broken_by_;
  absl::Status result = TryInSavepoint(work);
  if (database_->InTransaction()) return result;
  broken_by_ =
      !result.ok() ? result : MakeError(Reason::kStorageIo, "a transaction of the catalog is lost");
  return broken_by_;
}

absl::Status WriteQueue::TryInSavepoint(const Work& work) {
  RETURN_IF_ERROR(database_->Prepare("SAVEPOINT work").Run());
  absl::Status result = work(*database_);
  if (!database_->InTransaction()) return result;
  if (!result.ok()) RETURN_IF_ERROR(database_->Prepare("ROLLBACK TO work").Run());
  RETURN_IF_ERROR(database_->Prepare("RELEASE work").Run());
  return result;
}

absl::Status WriteQueue::Commit() {
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status committed = database_->Prepare("COMMIT").Run();
  metrics_.commit_duration.Observe(absl::FromChrono(std::chrono::steady_clock::now() - begin));
  return committed;
}

}  // namespace backup::storage
