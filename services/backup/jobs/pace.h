#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "absl/time/time.h"
#include "base/periodic_task.h"

namespace backup::jobs {

// Keeps work on many bytes to a number of them a second. Used by one thread at a time.
class Pace {
 public:
  // 0: as fast as can be.
  explicit Pace(int64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

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
    return WaitFor(token, absl::FromChrono(free_ - now));
  }

 private:
  const int64_t bytes_per_second_;
  std::chrono::steady_clock::time_point free_;  // When what was moved before is paid for.
};

}  // namespace backup::jobs
