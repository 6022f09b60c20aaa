#pragma once

#include <deque>
#include <functional>
#include <list>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace backup {

// Threads for what blocks: made when there is work, ended when there was none for a while, or once
// they are bulk threads, unless work waits that no other thread is free for. Thread-safe.
class WorkerPool {
 public:
  // At most `max_threads` at once; each ends after `idle_time` without work.
  WorkerPool(int max_threads, absl::Duration idle_time)
      : max_threads_(max_threads), idle_time_(idle_time) {}
  // Waits for all work to be done, that in the queue included.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs `task` as soon as a thread is free. The queue has no limit of its own: whoever submits
  // keeps one.
  void Submit(std::function<void()> task);

 private:
  using Threads = std::list<std::thread>;

  // False if there can be no more threads.
  bool AddThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work(Threads::iterator self);
  // The next task for the calling thread, which is idle until then; an empty one if it is to end.
  std::function<void()> Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Join(Threads& ended);

  const int max_threads_;
  const absl::Duration idle_time_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  Threads threads_ ABSL_GUARDED_BY(mutex_);
  Threads ended_ ABSL_GUARDED_BY(mutex_);
  // Threads without a task, those about to start included.
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace backup
