#include "base/worker_pool.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/low_priority_thread.h"

namespace backup {
namespace {

// How long the system gets to find room for a thread that could not be made.
constexpr absl::Duration kRetryInterval = absl::Milliseconds(20);

}  // namespace

WorkerPool::WorkerPool(int max_threads, absl::Duration idle_time, ThreadStarter start)
    : max_threads_(max_threads),
      idle_time_(idle_time),
      start_(std::move(start)),
      retrier_([this] { Retry(); }) {}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    while (!threads_.empty() || !queue_.empty()) changed_.Wait(mutex_);
    work_is_done_ = true;
    retry_changed_.NotifyOne();
  }
  retrier_.join();
  Join(ended_);
}

void WorkerPool::Submit(std::function<void()> task) {
  Threads ended;
  {
    MutexLock lock(mutex_);
    ended.swap(ended_);
    queue_.push_back(std::move(task));
    AddThreadIfNeeded();
  }
  // Outside the lock, which the woken thread wants first.
  changed_.NotifyOne();
  Join(ended);
}

void WorkerPool::AddThreadIfNeeded() {
  thread_is_missing_ = false;
  if (idle_ >= queue_.size() || threads_.size() >= static_cast<size_t>(max_threads_)) return;
  const auto self = threads_.emplace(threads_.end());
  if (std::optional<std::thread> thread = start_([this, self] { Work(self); })) {
    *self = *std::move(thread);
    ++idle_;
    return;
  }
  threads_.erase(self);
  thread_is_missing_ = true;
  retry_changed_.NotifyOne();
}

void WorkerPool::Retry() {
  MutexLock lock(mutex_);
  while (!work_is_done_) {
    if (!thread_is_missing_) {
      retry_changed_.Wait(mutex_);
      continue;
    }
    retry_changed_.WaitFor(mutex_, kRetryInterval);
    if (thread_is_missing_) AddThreadIfNeeded();
  }
}

void WorkerPool::Work(Threads::iterator self) {
  mutex_.Lock();
  while (std::function<void()> task = Next()) {
    mutex_.Unlock();
    task();
    task = nullptr;  // Whatever it holds ends outside the lock.
    mutex_.Lock();
    // Another cannot be made from here: it would have this one's priority.
    if (IsLowPriority() && (idle_ > 0 || queue_.empty())) break;
    ++idle_;
  }
  ended_.splice(ended_.end(), threads_, self);
  changed_.NotifyAll();
  mutex_.Unlock();
}

std::function<void()> WorkerPool::Next() {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(idle_time_);
  while (queue_.empty() && !stopping_) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) break;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  --idle_;
  if (queue_.empty()) return nullptr;
  std::function<void()> task = std::move(queue_.front());
  queue_.pop_front();
  return task;
}

void WorkerPool::Join(Threads& ended) {
  for (std::thread& thread : ended) thread.join();
}

}  // namespace backup
