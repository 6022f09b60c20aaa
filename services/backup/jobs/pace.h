#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <utility>

#include "absl/time/time.h"
#include "base/periodic_task.h"

namespace backup::jobs {

// Keeps work on many bytes to a number of them a second. Used by one thread at a time.
class Pace {
 public:
  // Waits for so long; false if it was told to stop.
  using Wait = std::function<bool(const std::stop_token&, absl::Duration)>;

  // 0: as fast as can be.
  explicit Pace(int64_t bytes_per_second, Wait wait = WaitFor)
      : bytes_per_second_(bytes_per_second), wait_(std::move(wait)) {}

  // Notes that so many bytes are moved now, and waits for as long as they may take. False if
  // `token` is told to stop.
  bool Move(int64_t bytes, const std::stop_token& token) {
    if (bytes_per_second_ == 0) return !token.stop_requested();
    using Clock = std::chrono::steady_clock;
    const Clock::time_point now = Clock::now();
    // What was not moved in time is not made up for.
    if (free_ < now) free_ = now;
    free_ += absl::ToChronoNanoseconds(absl::Seconds(1) * static_cast<double>(bytes) /
                                       static_cast<double>(bytes_per_second_));
    return wait_(token, absl::FromChrono(free_ - now));
  }

 private:
  const int64_t bytes_per_second_;
  const Wait wait_;
  std::chrono::steady_clock::time_point free_;  // When what was moved before is paid for.
};

// Keeps work to a part of the time, so that it takes no more than that of what it uses, however
// fast that is. Used by one thread at a time.
class TimeShare {
 public:
  // `part` of the time is spent on work.
  explicit TimeShare(double part) : part_(part) {}

  // Waits for as long as it takes, but for at most kMaxRest, until the work since the last call, or
  // since this was made, was no more than its part. Returns early if `token` is told to stop.
  void Rest(const std::stop_token& token) {
    const absl::Duration worked = absl::FromChrono(Clock::now() - begin_);
    WaitFor(token, std::min(worked * ((1 - part_) / part_), kMaxRest));
    begin_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;
  // A single step may have met a disk that stood still.
  static constexpr absl::Duration kMaxRest = absl::Seconds(2);

  const double part_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace backup::jobs
