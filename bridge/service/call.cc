#include "bridge/service/call.h"

#include "rpc/deadline.h"

namespace backup::bridge {

void CallsInFlight::Add() {
  MutexLock lock(mutex_);
  ++count_;
}

void CallsInFlight::Remove() {
  MutexLock lock(mutex_);
  if (--count_ == 0) none_.NotifyAll();
}

void CallsInFlight::WaitUntilNone() {
  MutexLock lock(mutex_);
  while (count_ > 0) none_.Wait(mutex_);
}

void PrepareContext(grpc::ClientContext& context, const CallOrigin& origin,
                    absl::Duration deadline) {
  context.set_deadline(rpc::DeadlineAfter(deadline));
  context.AddMetadata("x-request-id", origin.request_id);
  context.AddMetadata("x-legacy-peer", origin.peer);
  context.AddMetadata("x-legacy-connection", origin.connection);
  context.AddMetadata("x-legacy-request-bin", origin.request);
}

}  // namespace backup::bridge
