#pragma once

#include <functional>
#include <stop_token>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace backup {

// Waits for `duration`; false, at once, if `token` is told to stop before it is over. Thread-safe.
bool WaitFor(const std::stop_token& token, absl::Duration duration);

// Runs a piece of work again and again on a thread of its own: a fixed time after the last run
// ended, and at once when it is woken. Make it at the start of the process: the constructor throws
// if there is no room for another thread. Thread-safe.
class PeriodicTask {
 public:
  // Is told to stop when the task is destroyed; work that takes long looks at it now and then.
  using Work = std::function<void(const std::stop_token&)>;
  enum class FirstRun { kAtOnce, kAfterInterval };

  // What `work` uses must outlive this.
  PeriodicTask(absl::Duration interval, Work work, FirstRun first_run = FirstRun::kAfterInterval);
  // Waits for work that is going on, and begins none.
  ~PeriodicTask();
  PeriodicTask(const PeriodicTask&) = delete;
  PeriodicTask& operator=(const PeriodicTask&) = delete;

  // Runs the work as soon as possible; once more if it is going on. Any number of calls before a
  // run begins ask for one run.
  void Wake();

 private:
  void Run(const std::stop_token& token);
  // False if the task is to end.
  bool WaitForNextRun(const std::stop_token& token);

  const absl::Duration interval_;
  const Work work_;
  Mutex mutex_;
  CondVar changed_;
  bool is_woken_ ABSL_GUARDED_BY(mutex_);
  std::jthread thread_;  // Last: starts when all else is ready.
};

}  // namespace backup
