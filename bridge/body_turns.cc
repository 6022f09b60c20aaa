#include "bridge/body_turns.h"

#include <utility>

namespace backup::bridge {

BodyTurns::Turn BodyTurns::Begin() {
  const GaugeScope waiting(waiting_);
  MutexLock lock(mutex_);
  const auto self = waiters_.emplace(waiters_.end());
  const MonotonicTime wait_end = After(limits_.longest_wait);
  while (!MayBegin(self)) {
    const MonotonicTime now = MonotonicClock::now();
    if (now >= wait_end) break;
    // The first sees to it that a turn which takes too long is noticed.
    const bool is_first = self == waiters_.begin();
    const MonotonicTime wake = is_first ? std::min(wait_end, running_.begin()->second) : wait_end;
    self->WaitFor(mutex_, absl::FromChrono(wake - now));
  }
  waiters_.erase(self);
  running_.emplace(++last_, After(limits_.longest_turn));
  WakeFirst();
  return last_;
}

void BodyTurns::End(Turn turn) {
  MutexLock lock(mutex_);
  running_.erase(turn);
  WakeFirst();
}

bool BodyTurns::MayBegin(Waiters::const_iterator waiter) {
  if (waiter != waiters_.cbegin()) return false;
  const MonotonicTime now = MonotonicClock::now();
  // They end in the order in which they began.
  while (!running_.empty() && running_.begin()->second <= now) running_.erase(running_.begin());
  return running_.size() < limits_.at_once;
}

void BodyTurns::WakeFirst() {
  if (!waiters_.empty()) waiters_.front().NotifyOne();
}

void BodyPace::BeforeRead() {
  sending_ += Lap();
  const bool waits_for_client = reading_ > sending_;
  if (left_ <= 0 || (waits_for_client && left_ <= kShare - kSample)) EndTurn();
  if (left_ > 0) return;
  if (!waits_for_client) turn_ = turns_.Begin();
  left_ = turn_ ? kShare : kSample;
  reading_ = sending_ = {};
  mark_ = now_();
}

void BodyPace::AfterRead(size_t size_bytes) {
  reading_ += Lap();
  left_ -= static_cast<int64_t>(size_bytes);
}

void BodyPace::EndTurn() {
  if (turn_) turns_.End(*std::exchange(turn_, std::nullopt));
}

MonotonicClock::duration BodyPace::Lap() {
  const MonotonicTime now = now_();
  return now - std::exchange(mark_, now);
}

}  // namespace backup::bridge
