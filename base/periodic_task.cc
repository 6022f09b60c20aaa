#include "base/periodic_task.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace backup {
namespace {

// The clock has no room for an infinite time.
constexpr absl::Duration kLongestWait = absl::Hours(24 * 365);

std::chrono::steady_clock::time_point TimeAfter(absl::Duration duration) {
  return std::chrono::steady_clock::now() +
         absl::ToChronoNanoseconds(std::min(duration, kLongestWait));
}

}  // namespace

bool WaitFor(const std::stop_token& token, absl::Duration duration) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock<std::mutex> lock(mutex);
  never.wait_until(lock, token, TimeAfter(duration), [] { return false; });
  return !token.stop_requested();
}

PeriodicTask::PeriodicTask(absl::Duration interval, Work work, FirstRun first_run)
    : interval_(interval),
      work_(std::move(work)),
      is_woken_(first_run == FirstRun::kAtOnce),
      thread_([this](const std::stop_token& token) { Run(token); }) {}

PeriodicTask::~PeriodicTask() {
  thread_.request_stop();
  {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  }
  thread_.join();
}

void PeriodicTask::Wake() {
  MutexLock lock(mutex_);
  is_woken_ = true;
  changed_.NotifyAll();
}

void PeriodicTask::Run(const std::stop_token& token) {
  while (WaitForNextRun(token)) work_(token);
}

bool PeriodicTask::WaitForNextRun(const std::stop_token& token) {
  const auto end = TimeAfter(interval_);
  MutexLock lock(mutex_);
  while (!is_woken_ && !token.stop_requested()) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) break;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  is_woken_ = false;
  return !token.stop_requested();
}

}  // namespace backup
