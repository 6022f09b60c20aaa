#include "storage/sqlite/write_queue.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {

namespace {

// Of the log, a page of the database each.
constexpr int64_t kPageBytes = 4096;
// The reserve must hold what the log may have to add to the database, and then some: this part of
// it the log, and this part of it a batch (1/n).
constexpr int64_t kLogPart = 2;
constexpr int64_t kBatchPart = 8;
// While a reader keeps the log from being emptied, it is tried again each time that it has grown by
// this part (1/n).
constexpr int64_t kRetryPart = 8;
// A log of so many times its size is complained of.
constexpr int64_t kComplaintFactor = 4;
constexpr int kComplaintSeconds = 60;

int64_t MaxLogPages(const SpaceReserve* reserve) {
  if (reserve == nullptr) return WriteQueue::kMaxLogBytes / kPageBytes;
  return std::min(WriteQueue::kMaxLogBytes, reserve->size_bytes() / kLogPart) / kPageBytes;
}

int64_t MaxBatchBytes(const SpaceReserve* reserve) {
  return (reserve == nullptr ? SpaceReserve::kMaxBytes : reserve->size_bytes()) / kBatchPart;
}

}  // namespace

WriteQueue::WriteQueue(std::unique_ptr<Database> database, size_t max_waiting,
                       const StorageMetrics& metrics, SpaceReserve* reserve,
                       std::shared_ptr<BulkThrottle> throttle)
    : database_(std::move(database)),
      max_waiting_(max_waiting),
      metrics_(metrics),
      throttle_(std::move(throttle)),
      reserve_(reserve),
      max_log_pages_(MaxLogPages(reserve)),
      max_batch_bytes_(MaxBatchBytes(reserve)),
      writer_([this] { WriteBatches(); }) {}

WriteQueue::~WriteQueue() {
  MutexLock lock(mutex_);
  ending_ = true;
  arrived_.NotifyOne();
}

void WriteQueue::Add(Entry entry) {
  {
    MutexLock lock(mutex_);
    if (waiting_.size() < max_waiting_) {
      waiting_.push_back(std::move(entry));
      if (waiting_.size() == 1) arrived_.NotifyOne();  // Else it is awake, or about to look again.
      return;
    }
  }
  entry.done(MakeError(Reason::kOverloaded,
                       "too many requests wait for the catalog; try again later", "catalog"));
}

void WriteQueue::WriteBatches() {
  database_->KeepLogUntilCheckpoint();
  while (true) {
    std::vector<Entry> taken = TakeWaiting();
    if (taken.empty()) return;
    std::span<Entry> left = taken;
    while (!left.empty()) {
      left = WriteOneBatch(left);
      CheckpointIfDue();
    }
  }
}

std::vector<WriteQueue::Entry> WriteQueue::TakeWaiting() {
  std::vector<Entry> taken;
  MutexLock lock(mutex_);
  while (waiting_.empty() && !ending_) arrived_.Wait(mutex_);
  while (!waiting_.empty() && taken.size() < kMaxBatch) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return taken;
}

std::span<WriteQueue::Entry> WriteQueue::WriteOneBatch(std::span<Entry> entries) {
  std::span<Entry> batch;
  const absl::Status committed = RunWithReserve([&] {
    batch = entries;
    return WriteBatch(batch);
  });
  for (const Entry& entry : batch) entry.done(committed.ok() ? entry.result : committed);
  return entries.subspan(batch.size());
}

absl::Status WriteQueue::WriteBatch(std::span<Entry>& batch) {
  if (batch.front().is_alone) {
    batch = batch.first(1);
    return batch.front().work(*database_);
  }
  RETURN_IF_ERROR(database_->Begin(Database::Mode::kReadWrite));
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].is_alone || database_->bound_bytes() >= max_batch_bytes_) {
      batch = batch.first(i);
      break;
    }
    if (absl::Status error = RunInSavepoint(batch[i]); !error.ok()) {
      database_->Rollback();
      return error;
    }
  }
  return Commit(batch);
}

absl::Status WriteQueue::RunWithReserve(const std::function<absl::Status()>& attempt) {
  while (true) {
    database_->TakeRanOutOfRoom();
    absl::Status status = attempt();
    if (status.ok() || !database_->TakeRanOutOfRoom()) return status;
    if (reserve_ == nullptr || !reserve_->Release()) return status;
    // Of what may be durable all the same nobody may be told that it is not.
    if (ReasonOf(status) != Reason::kStorageFull) return status;
  }
}

// By the writer itself, because only one connection may: this SQLite damages the database
// otherwise.
void WriteQueue::CheckpointIfDue() {
  const int64_t pages = database_->log_pages();
  if (reserve_ != nullptr) reserve_->NoteLogBytes(pages * kPageBytes);
  if (pages < copied_log_pages_) copied_log_pages_ = 0;  // It has begun anew.
  const int64_t retry_pages = copied_log_pages_ + max_log_pages_ / kRetryPart;
  if (pages < max_log_pages_ || (copied_log_pages_ >= max_log_pages_ && pages < retry_pages))
    return;
  copied_log_pages_ = pages;
  Database::LogState log;
  const absl::Status copied = RunWithReserve([&]() -> absl::Status {
    ASSIGN_OR_RETURN(log, database_->Checkpoint(Database::Checkpointing::kCopy));
    return absl::OkStatus();
  });
  LOG_IF(ERROR, !copied.ok()) << "the catalog's log grows: " << copied;
  if (pages < kComplaintFactor * max_log_pages_ || !copied.ok() || log.copied == log.pages) return;
  LOG_EVERY_T(WARNING, kComplaintSeconds)
      << "the catalog's log has " << pages * kPageBytes
      << " bytes and grows, because something reads an old state of the catalog: a snapshot, which "
         "will be over, or a program (a sqlite3 shell? `fuser -v` on catalog.db-wal tells which), "
         "which should be ended";
}

absl::Status WriteQueue::RunInSavepoint(Entry& entry) {
  RETURN_IF_ERROR(database_->Prepare("SAVEPOINT work").Run());
  entry.result = entry.work(*database_);
  // Whatever it returned: it may not have noticed, and what the batch did before is gone too.
  RETURN_IF_ERROR(database_->CheckTransaction());
  if (!entry.result.ok()) RETURN_IF_ERROR(database_->Prepare("ROLLBACK TO work").Run());
  return database_->Prepare("RELEASE work").Run();
}

absl::Status WriteQueue::Commit(std::span<const Entry> batch) {
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status committed = database_->Commit();
  const absl::Duration took = absl::FromChrono(std::chrono::steady_clock::now() - begin);
  metrics_.commit_duration.Observe(took);
  const bool all_are_patient =
      std::all_of(batch.begin(), batch.end(), [](const Entry& entry) { return entry.is_patient; });
  if (throttle_ != nullptr && !all_are_patient) throttle_->OnCommit(took);
  return committed;
}

}  // namespace backup::storage
