#include "base/idle_shutdown.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace backup {
namespace {

constexpr int kQuarters = 4;

int64_t MonotonicNanos() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

IdleShutdown::IdleShutdown(absl::Duration after, StopRequest& stop)
    : after_(after), stop_(stop), idle_since_nanos_(MonotonicNanos()) {
  if (after_ > absl::ZeroDuration()) {
    watcher_ = std::jthread([this](std::stop_token token) { Watch(token); });
  }
}

IdleShutdown::~IdleShutdown() = default;

void IdleShutdown::Begin() { active_.fetch_add(1); }

void IdleShutdown::End() {
  idle_since_nanos_ = MonotonicNanos();
  active_.fetch_sub(1);
}

void IdleShutdown::Watch(std::stop_token token) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  const auto tick =
      absl::ToChronoNanoseconds(std::clamp(after_ / 40, absl::Milliseconds(10), absl::Seconds(1)));
  int announced_quarters = 0;
  std::unique_lock lock(mutex);
  while (!stopped.wait_for(lock, token, tick, [&] { return token.stop_requested(); })) {
    const absl::Duration idle =
        active_.load() > 0 ? absl::ZeroDuration()
                           : absl::Nanoseconds(MonotonicNanos() - idle_since_nanos_.load());
    if (idle >= after_) {
      stop_.Request(absl::StrCat("idle for ", absl::FormatDuration(after_)));
      return;
    }
    const int quarters = static_cast<int>(absl::FDivDuration(idle, after_ / kQuarters));
    if (quarters > announced_quarters) {
      LOG(INFO) << "no connection and no call for "
                << absl::FormatDuration(after_ / kQuarters * quarters) << ", shutting down after "
                << absl::FormatDuration(after_);
    }
    announced_quarters = quarters;
  }
}

}  // namespace backup
