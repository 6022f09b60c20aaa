#include "base/io_queue.h"

#include "glog/logging.h"

namespace backup {

IoQueue::~IoQueue() {
  while (in_flight() > 0) Finish();
}

bool IoQueue::TryStart(const IoOperation& operation, BulkThrottle* throttle) {
  if (in_flight() == kMaxDepth) return false;
  Slot& slot = slots_[started_ % kMaxDepth];
  slot.Start(*this, throttle);
  if (engine_ == nullptr) engine_ = &IoEngine::Default();
  if (!engine_->TryStart(operation, slot)) {
    slot.Cancel();
    return false;
  }
  ++started_;
  return true;
}

ssize_t IoQueue::Finish() {
  CHECK_GT(in_flight(), 0u);
  return slots_[finished_++ % kMaxDepth].Wait();
}

void IoQueue::Slot::Start(IoQueue& queue, BulkThrottle* throttle) {
  queue_ = &queue;
  throttle_ = throttle;
  is_done_ = false;
  if (throttle_ != nullptr) ticket_ = throttle_->Begin();
}

void IoQueue::Slot::Cancel() {
  if (throttle_ != nullptr) throttle_->End(ticket_);
}

void IoQueue::Slot::Done(ssize_t result) {
  // At once: others wait for that, and whoever waits for this may do so only later.
  if (throttle_ != nullptr) throttle_->End(ticket_);
  MutexLock lock(queue_->mutex_);
  result_ = result;
  is_done_ = true;
  queue_->changed_.NotifyOne();
}

ssize_t IoQueue::Slot::Wait() {
  MutexLock lock(queue_->mutex_);
  while (!is_done_) queue_->changed_.Wait(queue_->mutex_);
  return result_;
}

}  // namespace backup
