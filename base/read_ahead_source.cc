#include "base/read_ahead_source.h"

#include <atomic>

namespace backup {
namespace {

std::atomic<int> instances = 0;

}  // namespace

std::unique_ptr<ReadAheadSource> ReadAheadSource::TryStart(ByteSource& source) {
  if (instances.fetch_add(1) >= kMaxInstances) {
    instances.fetch_sub(1);
    return nullptr;
  }
  return std::unique_ptr<ReadAheadSource>(new ReadAheadSource(source));
}

ReadAheadSource::ReadAheadSource(ByteSource& source)
    : source_(source), producer_([this] { Produce(); }) {}

ReadAheadSource::~ReadAheadSource() {
  {
    MutexLock lock(mutex_);
    abandoned_ = true;
    changed_.NotifyAll();
  }
  producer_.join();
  instances.fetch_sub(1);
}

absl::StatusOr<absl::string_view> ReadAheadSource::Read() {
  MutexLock lock(mutex_);
  released_ = taken_;  // The caller is done with the piece before.
  changed_.NotifyAll();
  while (taken_ == produced_ && !finished_) changed_.Wait(mutex_);
  if (taken_ < produced_) return buffers_[taken_++ % kBuffers];
  if (!status_.ok()) return status_;
  return absl::string_view();
}

void ReadAheadSource::Produce() {
  absl::Status status;
  while (true) {
    const absl::StatusOr<absl::string_view> piece = source_.Read();
    status = piece.status();
    if (!piece.ok() || piece->empty()) break;
    std::string* const buffer = WaitForBuffer();
    if (buffer == nullptr) return;
    buffer->assign(piece->data(), piece->size());
    MutexLock lock(mutex_);
    ++produced_;
    changed_.NotifyAll();
  }
  MutexLock lock(mutex_);
  status_ = status;
  finished_ = true;
  changed_.NotifyAll();
}

std::string* ReadAheadSource::WaitForBuffer() {
  MutexLock lock(mutex_);
  while (produced_ - released_ == kBuffers && !abandoned_) changed_.Wait(mutex_);
  return abandoned_ ? nullptr : &buffers_[produced_ % kBuffers];
}

}  // namespace backup
