#include "base/bulk_throttle.h"

#include <algorithm>
#include <iterator>

namespace backup {
namespace {

constexpr MetricName kLimit{"backup_bulk_limit",
                            "Bulk reads and writes that may be in flight; below 1 a part of time"};
constexpr MetricName kWaited{"backup_bulk_wait_seconds_total",
                             "How long bulk reads and writes gave way to commits"};

// What the limit becomes after a window in which commits were slow, and after another: from the
// floor to 1 in four seconds, and from there one more every two.
constexpr double kDecrease = 0.6;
constexpr double kIncreaseBelowOne = 1.05;
constexpr double kIncrease = 0.05;

absl::Duration Between(BulkLimit::Time start, BulkLimit::Time end) {
  return absl::FromChrono(end - start);
}

absl::Duration Median(std::vector<absl::Duration>& durations) {
  const auto middle = durations.begin() + std::ssize(durations) / 2;
  std::nth_element(durations.begin(), middle, durations.end());
  return *middle;
}

}  // namespace

void BulkLimit::OnCommit(Time now, absl::Duration took, int bulk_in_flight) {
  if (IsQuiet(now - absl::ToChronoNanoseconds(took))) {
    limit_ = kMax;
    is_probing_ = false;
    window_.clear();
  }
  if (last_commit_) idle_ += std::max(absl::ZeroDuration(), Between(*last_commit_, now) - took);
  last_commit_ = now;
  if (idle_ > kMaxIdle) {
    is_probing_ = false;
    window_.clear();
  }
  if (window_.empty()) {
    window_start_ = now;
    idle_ = absl::ZeroDuration();
    most_in_flight_ = 0;
  }
  most_in_flight_ = std::max(most_in_flight_, bulk_in_flight);
  if (window_.size() < kMaxCommits) window_.push_back(took);
  if (window_.size() >= kMinCommits && Between(window_start_, now) >= kWindow) EndWindow(now);
}

double BulkLimit::At(Time now) const {
  if (IsQuiet(now)) return kMax;
  return is_probing_ && Between(*last_commit_, now) <= kMaxIdle ? kFloor : limit_;
}

bool BulkLimit::IsQuiet(Time now) const {
  return !last_commit_ || Between(*last_commit_, now) >= kQuiet;
}

void BulkLimit::EndWindow(Time now) {
  const absl::Duration median = Median(window_);
  window_.clear();
  const bool is_without_bulk = is_probing_ || most_in_flight_ == 0;
  is_probing_ = false;
  if (is_without_bulk) without_bulk_.push_back({now, median});
  while (!without_bulk_.empty() && Between(without_bulk_.front().when, now) > kRemembered)
    without_bulk_.pop_front();
  if (is_without_bulk) return;
  if (without_bulk_.empty() || Between(without_bulk_.back().when, now) >= kProbeInterval) {
    is_probing_ = true;
    return;
  }
  if (median > std::max(kAlwaysFine, kSlowdown * Baseline())) {
    limit_ = std::max(kFloor, kDecrease * std::min<double>(limit_, most_in_flight_));
  } else {
    limit_ = std::min(kMax, limit_ < 1 ? kIncreaseBelowOne * limit_ : limit_ + kIncrease);
  }
}

absl::Duration BulkLimit::Baseline() const {
  absl::Duration least = absl::InfiniteDuration();
  for (const Measured& measured : without_bulk_) least = std::min(least, measured.median);
  return least;
}

BulkThrottle::Metrics::Metrics(backup::Metrics& metrics)
    : limit(metrics.AddGauge(kLimit)), waited(metrics.AddCounter(kWaited)) {
  limit.Set(BulkLimit::kMax);
}

BulkThrottle::Ticket BulkThrottle::Begin() {
  const BulkLimit::Time asked = Now();
  BulkLimit::Time now = asked;
  MutexLock lock(mutex_);
  CondVar self;
  waiting_.push_back(&self);
  while (true) {
    const std::optional<absl::Duration> left =
        waiting_.front() == &self ? TimeToWait(now) : std::nullopt;
    if (!left) {
      self.Wait(mutex_);
    } else if (*left > absl::ZeroDuration()) {
      self.WaitFor(mutex_, *left);
    } else {
      break;
    }
    now = Now();
  }
  waiting_.pop_front();
  most_in_flight_ = std::max(most_in_flight_, ++in_flight_);
  WakeFirst();
  if (now != asked) metrics_.waited.Add(absl::ToDoubleSeconds(Between(asked, now)));
  return {now};
}

void BulkThrottle::End(const Ticket& ticket) {
  const BulkLimit::Time now = Now();
  MutexLock lock(mutex_);
  --in_flight_;
  const double limit = limit_.At(now);
  if (limit < 1) {
    const absl::Duration pause = Between(ticket.begin, now) * (1 / limit - 1);
    pause_until_ = now + absl::ToChronoNanoseconds(std::min(pause, kMaxPause));
  }
  WakeFirst();
}

void BulkThrottle::OnCommit(absl::Duration took) {
  const BulkLimit::Time now = Now();
  MutexLock lock(mutex_);
  limit_.OnCommit(now, took, most_in_flight_);
  most_in_flight_ = in_flight_;
  metrics_.limit.Set(limit_.At(now));
  WakeFirst();
}

std::optional<absl::Duration> BulkThrottle::TimeToWait(BulkLimit::Time now) const {
  const double limit = limit_.At(now);
  if (in_flight_ > 0 && in_flight_ + 1 > limit) return std::nullopt;
  if (limit >= 1 || now >= pause_until_) return absl::ZeroDuration();
  return Between(now, pause_until_);
}

void BulkThrottle::WakeFirst() {
  if (!waiting_.empty()) waiting_.front()->NotifyOne();
}

}  // namespace backup
