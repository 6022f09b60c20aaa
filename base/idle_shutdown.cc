#include "base/idle_shutdown.h"

#include <algorithm>
#include <chrono>

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
  if (after_ == absl::ZeroDuration()) return;
  const absl::Duration interval = std::clamp(after_ / 40, absl::Milliseconds(10), absl::Seconds(1));
  watcher_.emplace(interval, [this](const std::stop_token&) { Check(); });
}

IdleShutdown::~IdleShutdown() = default;

void IdleShutdown::Begin() { active_.fetch_add(1); }

void IdleShutdown::End() {
  idle_since_nanos_ = MonotonicNanos();
  active_.fetch_sub(1);
}

void IdleShutdown::Check() {
  if (stop_.requested()) return;
  const absl::Duration idle = is_idle()
                                  ? absl::Nanoseconds(MonotonicNanos() - idle_since_nanos_.load())
                                  : absl::ZeroDuration();
  if (idle >= after_) return stop_.Request(absl::StrCat("idle for ", absl::FormatDuration(after_)));
  const int quarters = static_cast<int>(absl::FDivDuration(idle, after_ / kQuarters));
  if (quarters > announced_quarters_) {
    LOG(INFO) << "no connection and no call for "
              << absl::FormatDuration(after_ / kQuarters * quarters) << ", shutting down after "
              << absl::FormatDuration(after_);
  }
  announced_quarters_ = quarters;
}

}  // namespace backup
