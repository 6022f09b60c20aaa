#pragma once

#include <chrono>
#include <set>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/server_context.h"

namespace backup {

// Cancels calls whose peer has moved nothing for too long, so that a silent one cannot hold a
// thread for ever. Thread-safe.
class StreamWatchdog {
 public:
  // One streaming call under watch, from construction to destruction.
  class Watch {
   public:
    Watch(StreamWatchdog& owner, grpc::ServerContext& call);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    // The peer moved something.
    void Progress();

   private:
    friend class StreamWatchdog;
    StreamWatchdog& owner_;
    grpc::ServerContext& call_;
    std::chrono::steady_clock::time_point last_progress_;
  };

  explicit StreamWatchdog(absl::Duration limit);

 private:
  void CancelSilent(std::stop_token token);

  const std::chrono::nanoseconds limit_;
  Mutex mutex_;
  std::set<Watch*> watches_ ABSL_GUARDED_BY(mutex_);
  std::jthread canceller_;  // Last: ends before what it reads.
};

}  // namespace backup
