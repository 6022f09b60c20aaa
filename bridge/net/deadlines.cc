#include "bridge/net/deadlines.h"

#include <algorithm>
#include <chrono>

namespace backup::bridge {
namespace {

constexpr std::chrono::milliseconds kLongestWait = std::chrono::hours(1);

}  // namespace

void Deadlines::Set(uint64_t number, absl::Duration timeout) {
  Clear(number);
  if (timeout == absl::InfiniteDuration()) return;
  const MonotonicTime deadline = MonotonicClock::now() + absl::ToChronoNanoseconds(timeout);
  in_order_.emplace(deadline, number);
  by_number_.emplace(number, deadline);
}

void Deadlines::Clear(uint64_t number) {
  const auto found = by_number_.find(number);
  if (found == by_number_.end()) return;
  in_order_.erase({found->second, number});
  by_number_.erase(found);
}

int Deadlines::WaitMilliseconds() const {
  if (in_order_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(in_order_.begin()->first -
                                                                 MonotonicClock::now());
  return static_cast<int>(std::clamp(left, std::chrono::milliseconds(0), kLongestWait).count());
}

std::optional<uint64_t> Deadlines::TakePassed() {
  if (in_order_.empty() || in_order_.begin()->first > MonotonicClock::now()) return std::nullopt;
  const uint64_t number = in_order_.begin()->second;
  Clear(number);
  return number;
}

}  // namespace backup::bridge
