#pragma once

#include "backup/v1/lifecycle.grpc.pb.h"
#include "services/backup/service_context.h"

namespace backup {

// What becomes of stored versions in the course of time. Thread-safe.
class LifecycleServiceImpl final : public v1::LifecycleService::Service {
 public:
  // `context` must outlive this.
  explicit LifecycleServiceImpl(const ServiceContext& context) : context_(context) {}
  grpc::Status ListTrash(grpc::ServerContext* call, const v1::ListTrashRequest* request,
                         v1::ListTrashResponse* response) override;

 private:
  const ServiceContext& context_;
};

}  // namespace backup
