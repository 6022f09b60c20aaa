#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "base/periodic_task.h"
#include "base/process.h"

namespace backup {

// Requests a stop when nothing has happened for a while, as the old server did; announces it after
// each quarter of the time (60 s, 120 s and 180 s of 240 s). Thread-safe.
class IdleShutdown {
 public:
  // Counts as activity from construction to destruction: a connection, or a call.
  class Activity {
   public:
    explicit Activity(IdleShutdown& owner) : owner_(owner) { owner_.Begin(); }
    ~Activity() { owner_.End(); }
    Activity(const Activity&) = delete;
    Activity& operator=(const Activity&) = delete;

   private:
    IdleShutdown& owner_;
  };

  // `after` zero turns it off. `stop` must outlive this.
  IdleShutdown(absl::Duration after, StopRequest& stop);
  ~IdleShutdown();

  void Begin();
  void End();
  // Whether there is no activity now.
  bool is_idle() const { return active_.load() == 0; }

 private:
  void Check();

  const absl::Duration after_;
  StopRequest& stop_;
  std::atomic<int64_t> active_ = 0;
  std::atomic<int64_t> idle_since_nanos_;  // Monotonic clock.
  int announced_quarters_ = 0;             // Of the time, since the last activity. Check()'s own.
  std::optional<PeriodicTask> watcher_;    // Last: ends before what it reads.
};

}  // namespace backup
