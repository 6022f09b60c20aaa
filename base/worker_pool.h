#pragma once

#include <deque>
#include <functional>
#include <list>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/start_thread.h"

namespace backup {

// Threads for what blocks: made when there is work, ended when there was none for a while, or once
// they are low-priority threads, unless work waits that no other thread is free for. While the
// system has no room for another thread, one of the pool's own tries again until it has.
// Thread-safe.
class WorkerPool {
 public:
  // At most `max_threads` work at once; each ends after `idle_time` without work.
  WorkerPool(int max_threads, absl::Duration idle_time, ThreadStarter start = TryStartThread);
  // Waits for all work to be done, that in the queue included.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs `task` as soon as a thread is free. The queue has no limit of its own: whoever submits
  // keeps one.
  void Submit(std::function<void()> task);

 private:
  using Threads = std::list<std::thread>;

  // Makes a thread unless enough are idle or there can be no more.
  void AddThreadIfNeeded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work(Threads::iterator self);
  // The next task for the calling thread, which is idle until then; an empty one if it is to end.
  std::function<void()> Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the threads that Submit() could not make. On retrier_.
  void Retry();
  static void Join(Threads& ended);

  const int max_threads_;
  const absl::Duration idle_time_;
  const ThreadStarter start_;

  Mutex mutex_;
  CondVar changed_;
  CondVar retry_changed_;  // thread_is_missing_ or work_is_done_.
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  Threads threads_ ABSL_GUARDED_BY(mutex_);
  Threads ended_ ABSL_GUARDED_BY(mutex_);
  // Threads without a task, those about to start included.
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool thread_is_missing_ ABSL_GUARDED_BY(mutex_) = false;  // The last one could not be made.
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool work_is_done_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread retrier_;  // Last: starts when all else is ready.
};

}  // namespace backup
