#include "bridge/upload/upload_scheduler.h"

namespace backup::bridge {

UploadScheduler::Slot UploadScheduler::Acquire() {
  const GaugeScope waiting(waiting_);
  MutexLock lock(mutex_);
  const auto self = waiters_.emplace(waiters_.end());
  const MonotonicTime wait_end = After(limits_.longest_wait);
  while (!MayBegin(self)) {
    const MonotonicTime now = MonotonicClock::now();
    if (now >= wait_end) break;
    // The first sees to it that a slot which is held too long is noticed.
    const bool is_first = self == waiters_.begin();
    const MonotonicTime wake = is_first ? std::min(wait_end, held_.begin()->second) : wait_end;
    self->WaitFor(mutex_, absl::FromChrono(wake - now));
  }
  waiters_.erase(self);
  held_.emplace(++last_, After(limits_.longest_slot));
  WakeFirst();
  return last_;
}

void UploadScheduler::Release(Slot slot) {
  MutexLock lock(mutex_);
  held_.erase(slot);
  WakeFirst();
}

bool UploadScheduler::MayBegin(Waiters::const_iterator waiter) {
  if (waiter != waiters_.cbegin()) return false;
  const MonotonicTime now = MonotonicClock::now();
  // They end in the order in which they began.
  while (!held_.empty() && held_.begin()->second <= now) held_.erase(held_.begin());
  return held_.size() < limits_.slots;
}

void UploadScheduler::WakeFirst() {
  if (!waiters_.empty()) waiters_.front().NotifyOne();
}

}  // namespace backup::bridge
