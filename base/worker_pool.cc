#include "base/worker_pool.h"

#include <chrono>
#include <system_error>
#include <utility>

#include "base/bulk_thread.h"
#include "glog/logging.h"

namespace backup {

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    while (!threads_.empty()) changed_.Wait(mutex_);
  }
  Join(ended_);
}

void WorkerPool::Submit(std::function<void()> task) {
  Threads ended;
  bool waits_for_thread = false;
  {
    MutexLock lock(mutex_);
    ended.swap(ended_);
    queue_.push_back(std::move(task));
    waits_for_thread = idle_ >= queue_.size() || !AddThread();
  }
  // Outside the lock, which the woken thread wants first.
  if (waits_for_thread) changed_.NotifyOne();
  Join(ended);
}

bool WorkerPool::AddThread() {
  if (threads_.size() >= static_cast<size_t>(max_threads_)) return false;
  const auto self = threads_.emplace(threads_.end());
  try {
    *self = std::thread([this, self] { Work(self); });
    ++idle_;
    return true;
  } catch (const std::system_error& error) {  // The task waits for the threads there are.
    LOG(ERROR) << "cannot make another thread: " << error.what();
    threads_.erase(self);
    return false;
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
    if (IsBulkThread() && (idle_ > 0 || queue_.empty())) break;
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
