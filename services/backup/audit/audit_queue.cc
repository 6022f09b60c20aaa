#include "services/backup/audit/audit_queue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/audit/actions.h"

namespace backup::audit {

using storage::AuditEntry;

void AuditQueue::Note(AuditEntry entry) {
  MutexLock lock(mutex_);
  NoteLocked(std::move(entry));
}

void AuditQueue::NoteLocked(AuditEntry entry) {
  if (waiting_.size() < kMaxWaiting) return waiting_.push_back(std::move(entry));
  lost_.Add();
  ++without_room_;
}

void AuditQueue::NoteRefused(AuditEntry entry) {
  MutexLock lock(mutex_);
  if (!window_end_)
    window_end_ = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(kRefusedWindow);
  const Kind kind{entry.actor, entry.action, entry.outcome};
  if (const auto known = refused_.find(kind); known != refused_.end()) {
    known->second.last = std::move(entry);
    ++known->second.count;
  } else if (refused_.size() < kMaxRefusedKinds) {
    refused_[kind];
    NoteLocked(std::move(entry));
  } else {
    other_refused_ = std::move(entry);
    ++other_refused_count_;
  }
}

void AuditQueue::EndWindow() {
  for (auto& [kind, repeats] : refused_) {
    if (repeats.count == 0) continue;
    repeats.last.detail = absl::StrCat("and ", repeats.count, " times more until then");
    NoteLocked(std::move(repeats.last));
  }
  if (other_refused_) {
    AuditEntry entry;
    entry.time = other_refused_->time;
    entry.actor = kService;
    entry.action = kManyRefused;
    entry.outcome = std::move(other_refused_->outcome);
    entry.detail =
        absl::StrCat(other_refused_count_, " calls of more callers, or of more kinds; ",
                     "the last by ", other_refused_->actor, " from ", other_refused_->peer);
    NoteLocked(std::move(entry));
  }
  refused_.clear();
  other_refused_.reset();
  other_refused_count_ = 0;
  window_end_.reset();
}

void AuditQueue::Flush() {
  {
    MutexLock lock(mutex_);
    if (window_end_ && *window_end_ <= std::chrono::steady_clock::now()) EndWindow();
  }
  WriteWaiting();
}

void AuditQueue::Close() {
  {
    MutexLock lock(mutex_);
    EndWindow();
  }
  WriteWaiting();
}

void AuditQueue::WriteWaiting() {
  MutexLock lock(flush_mutex_);
  while (WriteBatch()) {
  }
}

bool AuditQueue::WriteBatch() {
  std::vector<AuditEntry> batch;
  int64_t without_room = 0;
  {
    MutexLock lock(mutex_);
    const size_t size = std::min(waiting_.size(), kBatch);
    batch.assign(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(size));
    without_room = without_room_;
  }
  if (batch.empty()) return false;
  const size_t taken = batch.size();
  if (without_room > 0) {
    AuditEntry entry;
    entry.time = batch.back().time;
    entry.actor = kService;
    entry.action = kLost;
    entry.outcome = kOk;
    entry.detail = absl::StrCat(without_room, " entries could not be kept");
    batch.push_back(std::move(entry));
  }
  const absl::Status written = catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    for (const AuditEntry& entry : batch) {
      RETURN_IF_ERROR(log_.Append(transaction, entry, storage::AuditRoom::kUnlessFull));
    }
    return absl::OkStatus();
  });
  LOG_IF_EVERY_N(WARNING, !written.ok(), 600)
      << "entries of the audit log wait to be written: " << written;
  if (!written.ok()) return false;
  MutexLock lock(mutex_);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
  without_room_ -= without_room;
  return true;
}

}  // namespace backup::audit
