#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/support/server_interceptor.h"

namespace backup {

// Counts the calls of our services from their beginning until their answer has left the process,
// and is closed when the service ends. gRPC 1.51 itself tells the calls that its server took in but
// did not begin that they were cancelled, so they are refused here as long as it can be.
// Thread-safe.
class CallGate {
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

// Makes every call of our services pass `gate`, which must outlive the server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> PassThrough(CallGate& gate);

}  // namespace backup
