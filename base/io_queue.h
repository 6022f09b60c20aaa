#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>

#include "base/bulk_throttle.h"
#include "base/io_engine.h"
#include "base/mutex.h"

namespace backup {

// The reads or writes of one file that are in flight, at most kMaxDepth; their results come in the
// order in which they were started. Used by one thread at a time.
class IoQueue {
 public:
  // Disks that need more than one at a time reach their speed with four.
  static constexpr size_t kMaxDepth = 4;

  // Null: the engine of the process.
  explicit IoQueue(IoEngine* engine = nullptr) : engine_(engine) {}
  // Waits for all of them.
  ~IoQueue();
  IoQueue(const IoQueue&) = delete;
  IoQueue& operator=(const IoQueue&) = delete;

  // Starts it, once `throttle`, if it is not null, lets it; that must outlive the operation. False
  // if as many are in flight as can be, here or in the engine: then Finish() some, or do it without
  // this.
  bool TryStart(const IoOperation& operation, BulkThrottle* throttle);
  // Waits for the oldest, of which there must be one: how many bytes were moved, which may be fewer
  // than asked for, or a negative errno.
  ssize_t Finish();

  size_t in_flight() const { return started_ - finished_; }

 private:
  class Slot final : public IoWaiter {
   public:
    void Start(IoQueue& queue, BulkThrottle* throttle);
    void Cancel();
    void Done(ssize_t result) override;
    ssize_t Wait();

   private:
    IoQueue* queue_ = nullptr;
    BulkThrottle* throttle_ = nullptr;
    BulkThrottle::Ticket ticket_;
    bool is_done_ = false;  // These two are guarded by the queue's mutex.
    ssize_t result_ = 0;
  };

  IoEngine* engine_;  // Null until one is needed.
  Mutex mutex_;
  CondVar changed_;
  std::array<Slot, kMaxDepth> slots_;
  size_t started_ = 0;
  size_t finished_ = 0;
};

}  // namespace backup
