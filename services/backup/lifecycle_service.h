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
  grpc::Status UndeleteVersion(grpc::ServerContext* call, const v1::UndeleteVersionRequest* request,
                               v1::UndeleteVersionResponse* response) override;
  grpc::Status UndeleteFile(grpc::ServerContext* call, const v1::UndeleteFileRequest* request,
                            v1::UndeleteFileResponse* response) override;
  grpc::Status UndeleteClient(grpc::ServerContext* call, const v1::UndeleteClientRequest* request,
                              v1::UndeleteClientResponse* response) override;
  grpc::Status EmptyTrash(grpc::ServerContext* call, const v1::EmptyTrashRequest* request,
                          grpc::ServerWriter<v1::EmptyTrashResponse>* stream) override;

  grpc::Status SetPolicy(grpc::ServerContext* call, const v1::SetPolicyRequest* request,
                         v1::SetPolicyResponse* response) override;
  grpc::Status GetPolicy(grpc::ServerContext* call, const v1::GetPolicyRequest* request,
                         v1::GetPolicyResponse* response) override;
  grpc::Status ListPolicies(grpc::ServerContext* call, const v1::ListPoliciesRequest* request,
                            v1::ListPoliciesResponse* response) override;
  grpc::Status DeletePolicy(grpc::ServerContext* call, const v1::DeletePolicyRequest* request,
                            v1::DeletePolicyResponse* response) override;
  grpc::Status PreviewRetention(grpc::ServerContext* call,
                                const v1::PreviewRetentionRequest* request,
                                grpc::ServerWriter<v1::PreviewRetentionResponse>* stream) override;
  grpc::Status SetQuota(grpc::ServerContext* call, const v1::SetQuotaRequest* request,
                        v1::SetQuotaResponse* response) override;
  grpc::Status GetQuota(grpc::ServerContext* call, const v1::GetQuotaRequest* request,
                        v1::GetQuotaResponse* response) override;
  grpc::Status ListQuotas(grpc::ServerContext* call, const v1::ListQuotasRequest* request,
                          v1::ListQuotasResponse* response) override;
  grpc::Status DeleteQuota(grpc::ServerContext* call, const v1::DeleteQuotaRequest* request,
                           v1::DeleteQuotaResponse* response) override;
  grpc::Status ResumeRetention(grpc::ServerContext* call, const v1::ResumeRetentionRequest* request,
                               v1::ResumeRetentionResponse* response) override;

 private:
  const ServiceContext& context_;
};

}  // namespace backup
