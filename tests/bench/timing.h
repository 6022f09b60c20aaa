#pragma once

#include <chrono>
#include <vector>

namespace backup::bench {

using MonotonicClock = std::chrono::steady_clock;

inline constexpr double kBytesPerMegabyte = 1e6;
inline constexpr double kBytesPerGibibyte = 1 << 30;

double SecondsSince(MonotonicClock::time_point start);

// Time of this process on all cores so far, user and system.
double OwnCpuSeconds();

// The value that `share` of `values`, of which there must be some, do not exceed. Reorders them.
double Percentile(std::vector<double>& values, double share);
inline double Median(std::vector<double> values) { return Percentile(values, 0.5); }

}  // namespace backup::bench
