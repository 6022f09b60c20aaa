#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <thread>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "bridge/net/connection.h"

namespace backup::bridge {

// Lets a few large uploads go on at once; the others wait until one of these has sent its share. So
// what an upload needs stays in the processor's caches, on its way through client, bridge and
// service: docs/adr/0016-bodies-take-turns.md. Thread-safe.
class UploadScheduler {
 public:
  struct Limits {
    // For each core enough that one has work to do while others wait for the disk.
    size_t slots = size_t{4} * std::max(std::thread::hardware_concurrency(), 1U);
    // A slot that is held for longer counts as free: nobody waits for an upload that is stuck.
    absl::Duration longest_slot = absl::Seconds(1);
    // Whoever has waited for this long goes on, however many others do.
    absl::Duration longest_wait = absl::Seconds(5);
  };
  using Slot = uint64_t;

  // `waiting` tells how many wait.
  UploadScheduler(const Limits& limits, Gauge waiting) : limits_(limits), waiting_(waiting) {}

  // Waits for a slot: first come, first served.
  Slot Acquire();
  void Release(Slot slot);

 private:
  using Waiters = std::list<CondVar>;

  // Whether a slot is free, and this waiter's.
  bool MayBegin(Waiters::const_iterator waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeFirst() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_;
  const Gauge waiting_;
  Mutex mutex_;
  Waiters waiters_ ABSL_GUARDED_BY(mutex_);
  Slot last_ ABSL_GUARDED_BY(mutex_) = 0;
  // When each slot counts as free at the latest.
  std::map<Slot, MonotonicTime> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::bridge
