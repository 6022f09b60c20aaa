#pragma once

#include <chrono>
#include <optional>
#include <set>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/periodic_task.h"
#include "grpcpp/server_context.h"

namespace backup::rpc {

// Cancels calls whose peer moves nothing for too long, so that a silent one cannot hold a thread
// forever. Only waits for the peer count: a slow disk is not the peer's fault. Thread-safe.
class StreamWatchdog {
 public:
  // One wait for the next message from, or room at, a streaming call's peer: from construction to
  // destruction.
  class Wait {
   public:
    Wait(StreamWatchdog& owner, grpc::ServerContextBase& call);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    friend class StreamWatchdog;
    StreamWatchdog& owner_;
    grpc::ServerContextBase& call_;
    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    bool cancelled_ = false;  // Guarded by the owner's mutex.
  };

  // `limit` zero turns it off.
  explicit StreamWatchdog(absl::Duration limit);

 private:
  void CancelSilent();

  const std::chrono::nanoseconds limit_;
  Mutex mutex_;
  std::set<Wait*> waits_ ABSL_GUARDED_BY(mutex_);
  std::optional<PeriodicTask> canceller_;  // Last: ends before what it reads.
};

}  // namespace backup::rpc
