#pragma once

#include <atomic>
#include <functional>
#include <stop_token>
#include <thread>

#include "absl/time/time.h"
#include "grpcpp/completion_queue.h"

namespace backup::rpc {

// Where gRPC says what has become of calls that were started. One thread, which waits for gRPC and
// for nothing else, takes it from there: gRPC's own threads, of which there are two at least, would
// wake each other for every message. Thread-safe.
class CompletionQueue {
 public:
  // What gRPC is to tell of.
  class Event {
   public:
    virtual ~Event() = default;
    // Called on the queue's thread, which it must not block. May be the end of this.
    virtual void Happen() = 0;
    // The tag for gRPC, once all is ready for Happen().
    void* Tag() {
      ready_.store(true, std::memory_order_release);
      return this;
    }

   private:
    friend class CompletionQueue;
    // gRPC's own hand-over between the threads is not visible to ThreadSanitizer.
    std::atomic<bool> ready_ = false;
  };

  CompletionQueue();
  // Nothing may be awaited any more.
  ~CompletionQueue();

  grpc::CompletionQueue& completions() { return completions_; }

  // Calls `done` once, on the queue's thread, which it must not block: after `delay`, or as soon as
  // `token` is stopped. Something is awaited until then.
  void CallAfter(absl::Duration delay, std::stop_token token, std::function<void()> done);

 private:
  grpc::CompletionQueue completions_;
  std::thread thread_;
};

}  // namespace backup::rpc
