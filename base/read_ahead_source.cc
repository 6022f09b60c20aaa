#include "base/read_ahead_source.h"

#include <optional>

#include "absl/memory/memory.h"
#include "base/low_priority_thread.h"

namespace backup {

bool ReadAheadSlots::TryTake() {
  if (taken_.fetch_add(1) < kMaxSlots) return true;
  taken_.fetch_sub(1);
  return false;
}

void ReadAheadSlots::GiveBack() { taken_.fetch_sub(1); }

std::unique_ptr<ReadAheadSource> ReadAheadSource::TryMake(LastingSource& source,
                                                          ReadAheadSlots& slots,
                                                          ThreadStarter start) {
  if (!slots.TryTake()) return nullptr;
  return absl::WrapUnique(new ReadAheadSource(source, slots, std::move(start)));
}

ReadAheadSource::~ReadAheadSource() {
  {
    MutexLock lock(mutex_);
    abandoned_ = true;
    changed_.NotifyAll();
  }
  if (producer_.joinable()) producer_.join();
  slots_.GiveBack();
}

absl::StatusOr<absl::string_view> ReadAheadSource::Read() {
  if (const ThreadStarter start = std::exchange(start_, nullptr)) {
    if (std::optional<std::thread> thread = start([this] { Produce(); })) {
      producer_ = *std::move(thread);
    }
  }
  if (!producer_.joinable()) return source_.Read();
  MutexLock lock(mutex_);
  released_ = taken_;  // The caller is done with the piece before.
  changed_.NotifyAll();
  while (taken_ == produced_ && !finished_) changed_.Wait(mutex_);
  if (taken_ < produced_) return pieces_[taken_++ % pieces_.size()];
  if (!status_.ok()) return status_;
  return absl::string_view();
}

void ReadAheadSource::Produce() {
  BecomeLowPriority();  // Only large bodies are worth a stage.
  absl::Status status;
  while (true) {
    const absl::StatusOr<absl::string_view> piece = source_.Read();
    status = piece.status();
    if (!piece.ok() || piece->empty()) break;
    if (!WaitForRoom()) return;
    MutexLock lock(mutex_);
    pieces_[produced_++ % pieces_.size()] = *piece;
    changed_.NotifyAll();
  }
  MutexLock lock(mutex_);
  status_ = status;
  finished_ = true;
  changed_.NotifyAll();
}

bool ReadAheadSource::WaitForRoom() {
  MutexLock lock(mutex_);
  while (produced_ - released_ == pieces_.size() && !abandoned_) changed_.Wait(mutex_);
  return !abandoned_;
}

}  // namespace backup
