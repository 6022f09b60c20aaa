#include "services/backup/lifecycle_service.h"

#include "base/status_macros.h"
#include "services/backup/handlers/empty_trash.h"
#include "services/backup/handlers/list_trash.h"
#include "services/backup/handlers/policies.h"
#include "services/backup/handlers/quotas.h"
#include "services/backup/handlers/undelete_client.h"
#include "services/backup/handlers/undelete_file.h"
#include "services/backup/handlers/undelete_version.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/serve.h"

namespace backup {

grpc::Status LifecycleServiceImpl::ListTrash(grpc::ServerContext* call,
                                             const v1::ListTrashRequest* request,
                                             v1::ListTrashResponse* response) {
  return ServeRead(*call, context_, "ListTrash", *request, *response,
                   [this](storage::Snapshot& snapshot, const v1::ListTrashRequest& message) {
                     return handlers::ListTrash(snapshot, context_.trash, message);
                   });
}

grpc::Status LifecycleServiceImpl::UndeleteVersion(grpc::ServerContext* call,
                                                   const v1::UndeleteVersionRequest* request,
                                                   v1::UndeleteVersionResponse* response) {
  return ServeAudited(
      *call, context_, "UndeleteVersion", *request, *response,
      [&](storage::Catalog& catalog) { return handlers::UndeleteVersion(catalog, *request); });
}

grpc::Status LifecycleServiceImpl::UndeleteFile(grpc::ServerContext* call,
                                                const v1::UndeleteFileRequest* request,
                                                v1::UndeleteFileResponse* response) {
  return ServeAudited(
      *call, context_, "UndeleteFile", *request, *response,
      [&](storage::Catalog& catalog) { return handlers::UndeleteFile(catalog, *request); });
}

grpc::Status LifecycleServiceImpl::UndeleteClient(grpc::ServerContext* call,
                                                  const v1::UndeleteClientRequest* request,
                                                  v1::UndeleteClientResponse* response) {
  return ServeAudited(
      *call, context_, "UndeleteClient", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::Transact(catalog, [&] {
          return handlers::UndeleteClient::Prepare(context_.duplicate_names, *request);
        });
      });
}

grpc::Status LifecycleServiceImpl::EmptyTrash(grpc::ServerContext* call,
                                              const v1::EmptyTrashRequest* request,
                                              grpc::ServerWriter<v1::EmptyTrashResponse>* stream) {
  RpcScope scope(*call, context_, "EmptyTrash");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  NoteRequest(*request, "EmptyTrash", scope);
  context_.LookAtClock();
  AuditedCall audited(*call, context_, "EmptyTrash", *request);
  const absl::Status emptied = handlers::EmptyTrash(
      audited.catalog(), context_.clock, *request,
      [&](const v1::EmptyTrashResponse& progress) -> absl::Status {
        RETURN_IF_ERROR(context_.gate.CheckOpen());  // It would hold up the end for too long.
        scope.add_sent(progress.ByteSizeLong());
        const rpc::StreamWatchdog::Wait wait(context_.watchdog, *call);
        return stream->Write(progress) ? absl::OkStatus()
                                       : absl::CancelledError("the caller is gone");
      });
  audited.Finish(emptied);
  context_.wake_sweep();  // Of what is gone, also before an error.
  return scope.Finish(emptied);
}

grpc::Status LifecycleServiceImpl::SetPolicy(grpc::ServerContext* call,
                                             const v1::SetPolicyRequest* request,
                                             v1::SetPolicyResponse* response) {
  return ServeAudited(
      *call, context_, "SetPolicy", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::Transact(catalog, [&] { return handlers::SetPolicy::Prepare(*request); });
      });
}

grpc::Status LifecycleServiceImpl::GetPolicy(grpc::ServerContext* call,
                                             const v1::GetPolicyRequest* request,
                                             v1::GetPolicyResponse* response) {
  return ServeRead(*call, context_, "GetPolicy", *request, *response, handlers::GetPolicy);
}

grpc::Status LifecycleServiceImpl::ListPolicies(grpc::ServerContext* call,
                                                const v1::ListPoliciesRequest* request,
                                                v1::ListPoliciesResponse* response) {
  return ServeRead(*call, context_, "ListPolicies", *request, *response, handlers::ListPolicies);
}

grpc::Status LifecycleServiceImpl::DeletePolicy(grpc::ServerContext* call,
                                                const v1::DeletePolicyRequest* request,
                                                v1::DeletePolicyResponse* response) {
  return ServeAudited(*call, context_, "DeletePolicy", *request, *response,
                      [&](storage::Catalog& catalog) {
                        return handlers::Transact(
                            catalog, [&] { return handlers::DeletePolicy::Prepare(*request); });
                      });
}

grpc::Status LifecycleServiceImpl::PreviewRetention(
    grpc::ServerContext* call, const v1::PreviewRetentionRequest* request,
    grpc::ServerWriter<v1::PreviewRetentionResponse>* stream) {
  RpcScope scope(*call, context_, "PreviewRetention");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  NoteRequest(*request, "PreviewRetention", scope);
  const retention::Conditions conditions{context_.clock.Now(), context_.retention};
  return scope.Finish(handlers::PreviewRetention(
      context_.catalog, conditions, *request,
      [&](const v1::PreviewRetentionResponse& part) -> absl::Status {
        RETURN_IF_ERROR(context_.gate.CheckOpen());  // It would hold up the end for too long.
        scope.add_sent(part.ByteSizeLong());
        const rpc::StreamWatchdog::Wait wait(context_.watchdog, *call);
        return stream->Write(part) ? absl::OkStatus() : absl::CancelledError("the caller is gone");
      }));
}

grpc::Status LifecycleServiceImpl::SetQuota(grpc::ServerContext* call,
                                            const v1::SetQuotaRequest* request,
                                            v1::SetQuotaResponse* response) {
  return ServeAudited(
      *call, context_, "SetQuota", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::Transact(
            catalog, [&] { return handlers::SetQuota::Prepare(context_.catalog, *request); });
      });
}

grpc::Status LifecycleServiceImpl::GetQuota(grpc::ServerContext* call,
                                            const v1::GetQuotaRequest* request,
                                            v1::GetQuotaResponse* response) {
  return ServeRead(*call, context_, "GetQuota", *request, *response, handlers::GetQuota);
}

grpc::Status LifecycleServiceImpl::ListQuotas(grpc::ServerContext* call,
                                              const v1::ListQuotasRequest* request,
                                              v1::ListQuotasResponse* response) {
  return ServeRead(*call, context_, "ListQuotas", *request, *response, handlers::ListQuotas);
}

grpc::Status LifecycleServiceImpl::DeleteQuota(grpc::ServerContext* call,
                                               const v1::DeleteQuotaRequest* request,
                                               v1::DeleteQuotaResponse* response) {
  return ServeAudited(*call, context_, "DeleteQuota", *request, *response,
                      [&](storage::Catalog& catalog) {
                        return handlers::Transact(
                            catalog, [&] { return handlers::DeleteQuota::Prepare(*request); });
                      });
}

grpc::Status LifecycleServiceImpl::ResumeRetention(grpc::ServerContext* call,
                                                   const v1::ResumeRetentionRequest* request,
                                                   v1::ResumeRetentionResponse* response) {
  return ServeAudited(*call, context_, "ResumeRetention", *request, *response,
                      [&](storage::Catalog&) -> absl::StatusOr<v1::ResumeRetentionResponse> {
                        if (context_.clock_watch != nullptr)
                          RETURN_IF_ERROR(context_.clock_watch->Resume());
                        return v1::ResumeRetentionResponse();
                      });
}

}  // namespace backup
