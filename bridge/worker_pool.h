#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace backup::bridge {

// Runs tasks that block, each on a thread: made when needed, at most `max_threads`, kept until the
// end. Tasks beyond that wait in order; the number of connections bounds how many there can be.
// Thread-safe.
class WorkerPool {
 public:
  explicit WorkerPool(size_t max_threads) : max_threads_(max_threads) {}
  // Finishes every task.
  ~WorkerPool();
  void Run(std::function<void()> task);

 private:
  void Work();

  const size_t max_threads_;
  Mutex mutex_;
  CondVar arrived_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::bridge
