#pragma once

#include <thread>

#include "grpcpp/completion_queue.h"

namespace backup::bridge {

// Where gRPC says what has become of calls that were started. One thread, which waits for gRPC and
// for nothing else, takes it from there: gRPC's own threads, of which there are two at least, would
// wake each other for every message. Thread-safe.
class CallQueue {
 public:
  // What gRPC is to tell of. Its tag for gRPC is Tag().
  class Event {
   public:
    virtual ~Event() = default;
    // Called on the queue's thread, which it must not block. May be the end of this.
    virtual void Happen() = 0;
    void* Tag() { return this; }
  };

  CallQueue();
  // Nothing may be awaited any more.
  ~CallQueue();

  grpc::CompletionQueue& completions() { return completions_; }

 private:
  grpc::CompletionQueue completions_;
  std::thread thread_;
};

}  // namespace backup::bridge
