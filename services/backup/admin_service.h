#pragma once

#include <atomic>
#include <utility>

#include "backup/v1/admin.grpc.pb.h"
#include "services/backup/handlers/get_status.h"
#include "services/backup/service_context.h"

namespace backup {

// What whoever runs the service asks for. Thread-safe.
class AdminServiceImpl final : public v1::AdminService::Service {
 public:
  // `context` must outlive this.
  AdminServiceImpl(const ServiceContext& context, ServiceInfo info)
      : context_(context), info_(std::move(info)) {}
  grpc::Status GetStatus(grpc::ServerContext* call, const v1::GetStatusRequest* request,
                         v1::GetStatusResponse* response) override;
  grpc::Status VerifyStore(grpc::ServerContext* call, const v1::VerifyStoreRequest* request,
                           grpc::ServerWriter<v1::VerifyStoreResponse>* stream) override;
  grpc::Status GetScrub(grpc::ServerContext* call, const v1::GetScrubRequest* request,
                        v1::GetScrubResponse* response) override;
  grpc::Status StartScrub(grpc::ServerContext* call, const v1::StartScrubRequest* request,
                          v1::StartScrubResponse* response) override;
  grpc::Status PauseScrub(grpc::ServerContext* call, const v1::PauseScrubRequest* request,
                          v1::PauseScrubResponse* response) override;
  grpc::Status DiscardDamaged(grpc::ServerContext* call, const v1::DiscardDamagedRequest* request,
                              v1::DiscardDamagedResponse* response) override;
  grpc::Status SetLogLevel(grpc::ServerContext* call, const v1::SetLogLevelRequest* request,
                           v1::SetLogLevelResponse* response) override;

  grpc::Status TraceClient(grpc::ServerContext* call, const v1::TraceClientRequest* request,
                           grpc::ServerWriter<v1::TraceClientResponse>* stream) override;
  grpc::Status ImportClient(grpc::ServerContext* call, const v1::ImportClientRequest* request,
                            v1::ImportClientResponse* response) override;
  grpc::Status BackUpState(grpc::ServerContext* call, const v1::BackUpStateRequest* request,
                           v1::BackUpStateResponse* response) override;
  grpc::Status ListStaleClients(grpc::ServerContext* call,
                                const v1::ListStaleClientsRequest* request,
                                v1::ListStaleClientsResponse* response) override;
  grpc::Status ListKeys(grpc::ServerContext* call, const v1::ListKeysRequest* request,
                        v1::ListKeysResponse* response) override;
  grpc::Status RotateKey(grpc::ServerContext* call, const v1::RotateKeyRequest* request,
                         v1::RotateKeyResponse* response) override;
  grpc::Status RetireKey(grpc::ServerContext* call, const v1::RetireKeyRequest* request,
                         v1::RetireKeyResponse* response) override;
  grpc::Status RewrapKeys(grpc::ServerContext* call, const v1::RewrapKeysRequest* request,
                          v1::RewrapKeysResponse* response) override;
  grpc::Status ListAuditEntries(grpc::ServerContext* call,
                                const v1::ListAuditEntriesRequest* request,
                                v1::ListAuditEntriesResponse* response) override;
  grpc::Status VerifyAudit(grpc::ServerContext* call, const v1::VerifyAuditRequest* request,
                           grpc::ServerWriter<v1::VerifyAuditResponse>* stream) override;
  grpc::Status ListBans(grpc::ServerContext* call, const v1::ListBansRequest* request,
                        v1::ListBansResponse* response) override;
  grpc::Status AddBan(grpc::ServerContext* call, const v1::AddBanRequest* request,
                      v1::AddBanResponse* response) override;
  grpc::Status RemoveBan(grpc::ServerContext* call, const v1::RemoveBanRequest* request,
                         v1::RemoveBanResponse* response) override;

 private:
  const ServiceContext& context_;
  std::atomic<int> watchers_ = 0;
  const ServiceInfo info_;
};

}  // namespace backup
