#pragma once

#include <memory>

#include "base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace backup::rpc {

// Keeps one of gRPC's threads from waiting for events as long as this lives. Its callback interface
// has at least two of them in a process, which wake each other for nearly every message, and no
// setting for fewer; as nothing they run blocks, one does. At most one of these in a process.
class ParkedThread {
 public:
  // `channel` may lead anywhere.
  explicit ParkedThread(const std::shared_ptr<grpc::Channel>& channel);
  ~ParkedThread();
  ParkedThread(const ParkedThread&) = delete;
  ParkedThread& operator=(const ParkedThread&) = delete;

 private:
  void Park();

  Mutex mutex_;
  CondVar changed_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  // A call whose end, however it ends, is told on such a thread.
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  const grpc::health::v1::HealthCheckRequest request_;
  grpc::health::v1::HealthCheckResponse response_;
  grpc::ClientContext call_;
};

}  // namespace backup::rpc
