#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/server_builder.h"
#include "rpc/stream_watchdog.h"

namespace backup::rpc {

// Counts the calls of our services from their beginning until their answer has left the process,
// and is closed when the service ends. gRPC 1.51 itself tells the calls that its server took in but
// did not begin that they were cancelled, so they are refused here as long as it can be.
// Thread-safe.
class DrainGate {
 public:
  // Lets a call in, for which Leave() is to follow; false once closed.
  bool Enter();
  void Leave();
  void Close();
  // Reason DRAINING once closed.
  absl::Status CheckOpen() const;
  // Whether all calls that were let in are over within `timeout`.
  bool WaitUntilEmpty(absl::Duration timeout) const;

 private:
  mutable Mutex mutex_;
  mutable CondVar changed_;
  int64_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

// Makes every call of our services pass `gate`, and has `watchdog` cancel those whose answer their
// peer does not take: gRPC itself waits for it as long as the connection is there, and so would the
// thread of a synchronous call. Both must outlive the server. Once only for a builder.
void PassThrough(DrainGate& gate, StreamWatchdog& watchdog, grpc::ServerBuilder& builder);

}  // namespace backup::rpc
