#include "services/backup/admin_service.h"

#include "absl/cleanup/cleanup.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/audit.h"
#include "services/backup/handlers/bans.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/import_client.h"
#include "services/backup/handlers/keys.h"
#include "services/backup/handlers/list_stale_clients.h"
#include "services/backup/handlers/scrub.h"
#include "services/backup/handlers/set_log_level.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/limits.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/serve.h"

namespace backup {
namespace {

// How soon a watcher's end is noticed.
constexpr absl::Duration kTraceCancelCheckInterval = absl::Milliseconds(200);

}  // namespace

grpc::Status AdminServiceImpl::GetStatus(grpc::ServerContext* call,
                                         const v1::GetStatusRequest* request,
                                         v1::GetStatusResponse* response) {
  return Serve(*call, context_, "GetStatus", *request, *response, [this] {
    const handlers::DiskUse disk = context_.look_at_disk();  // No snapshot waits for it.
    return context_.catalog.Read([&](storage::Snapshot& snapshot) {
      return handlers::GetStatus(snapshot, context_.clock, info_, disk, context_.RemovalTime());
    });
  });
}

grpc::Status AdminServiceImpl::SetLogLevel(grpc::ServerContext* call,
                                           const v1::SetLogLevelRequest* request,
                                           v1::SetLogLevelResponse* response) {
  return ServeAudited(*call, context_, "SetLogLevel", *request, *response,
                      [&](storage::Catalog&) { return handlers::SetLogLevel(*request); });
}

grpc::Status AdminServiceImpl::ListStaleClients(grpc::ServerContext* call,
                                                const v1::ListStaleClientsRequest* request,
                                                v1::ListStaleClientsResponse* response) {
  return ServeRead(*call, context_, "ListStaleClients", *request, *response,
                   [this](storage::Snapshot& snapshot, const v1::ListStaleClientsRequest& message) {
                     return handlers::ListStaleClients(snapshot, context_.clock, message);
                   });
}

grpc::Status AdminServiceImpl::ImportClient(grpc::ServerContext* call,
                                            const v1::ImportClientRequest* request,
                                            v1::ImportClientResponse* response) {
  const auto import = [&](storage::Catalog& catalog) {
    return handlers::Transact(catalog, [&] {
      return handlers::ImportClient::Prepare(context_.master_key, context_.clock,
                                             context_.duplicate_names, *request);
    });
  };
  if (request->validate_only()) {
    return Serve(*call, context_, "ImportClient", *request, *response,
                 [&] { return import(context_.catalog); });
  }
  return ServeAudited(*call, context_, "ImportClient", *request, *response, import);
}

grpc::Status AdminServiceImpl::BackUpState(grpc::ServerContext* call,
                                           const v1::BackUpStateRequest* request,
                                           v1::BackUpStateResponse* response) {
  return ServeAudited(*call, context_, "BackUpState", *request, *response,
                      [&](storage::Catalog&) { return context_.back_up_state(); });
}

grpc::Status AdminServiceImpl::ListKeys(grpc::ServerContext* call,
                                        const v1::ListKeysRequest* request,
                                        v1::ListKeysResponse* response) {
  return Serve(*call, context_, "ListKeys", *request, *response,
               [&] { return handlers::ListKeys(context_.catalog, *context_.key_keeper); });
}

grpc::Status AdminServiceImpl::RotateKey(grpc::ServerContext* call,
                                         const v1::RotateKeyRequest* request,
                                         v1::RotateKeyResponse* response) {
  return ServeAudited(*call, context_, "RotateKey", *request, *response,
                      [&](storage::Catalog&, AuditedCall& audited) {
                        return handlers::RotateKey(*context_.key_keeper, context_.clock,
                                                   context_.back_up_keys, audited.change());
                      });
}

grpc::Status AdminServiceImpl::RetireKey(grpc::ServerContext* call,
                                         const v1::RetireKeyRequest* request,
                                         v1::RetireKeyResponse* response) {
  return ServeAudited(*call, context_, "RetireKey", *request, *response,
                      [&](storage::Catalog& catalog) -> absl::StatusOr<v1::RetireKeyResponse> {
                        if (!context_.retires_keys) {
                          return MakeError(Reason::kKeyChangeRefused,
                                           "nothing is retired while --retire_interval is 0s");
                        }
                        auto retiring = handlers::RetireKey(catalog, *context_.key_keeper,
                                                            context_.clock, *request);
                        context_.wake_retire();
                        return retiring;
                      });
}

grpc::Status AdminServiceImpl::RewrapKeys(grpc::ServerContext* call,
                                          const v1::RewrapKeysRequest* request,
                                          v1::RewrapKeysResponse* response) {
  return ServeAudited(*call, context_, "RewrapKeys", *request, *response,
                      [&](storage::Catalog&, AuditedCall& audited) {
                        return handlers::RewrapKeys(context_.stored_places(), *context_.key_keeper,
                                                    context_.clock, context_.back_up_keys, *request,
                                                    audited.change());
                      });
}

grpc::Status AdminServiceImpl::VerifyStore(grpc::ServerContext* call,
                                           const v1::VerifyStoreRequest* request,
                                           grpc::ServerWriter<v1::VerifyStoreResponse>* stream) {
  RpcScope scope(*call, context_, "VerifyStore");
  scope.add_received(request->ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  return scope.Finish(handlers::VerifyStore(
      context_.stored_places(), context_.stages.pieces, *request,
      [&](const v1::VerifyStoreResponse& event) -> absl::Status {
        RETURN_IF_ERROR(context_.gate.CheckOpen());  // It would hold up the end for too long.
        scope.add_sent(event.ByteSizeLong());
        const rpc::StreamWatchdog::Wait wait(context_.watchdog, *call);
        return stream->Write(event) ? absl::OkStatus() : absl::CancelledError("the caller is gone");
      }));
}

grpc::Status AdminServiceImpl::GetScrub(grpc::ServerContext* call,
                                        const v1::GetScrubRequest* request,
                                        v1::GetScrubResponse* response) {
  return ServeRead(*call, context_, "GetScrub", *request, *response,
                   [this](storage::Snapshot& snapshot, const v1::GetScrubRequest&) {
                     return handlers::GetScrub(snapshot, context_.scrub);
                   });
}

grpc::Status AdminServiceImpl::StartScrub(grpc::ServerContext* call,
                                          const v1::StartScrubRequest* request,
                                          v1::StartScrubResponse* response) {
  return ServeAudited(*call, context_, "StartScrub", *request, *response,
                      [this](storage::Catalog& catalog) {
                        auto started = catalog.Run([this](storage::Transaction& transaction) {
                          return handlers::StartScrub(transaction, context_.scrub);
                        });
                        if (started.ok()) context_.wake_scrub();
                        return started;
                      });
}

grpc::Status AdminServiceImpl::PauseScrub(grpc::ServerContext* call,
                                          const v1::PauseScrubRequest* request,
                                          v1::PauseScrubResponse* response) {
  return ServeAudited(*call, context_, "PauseScrub", *request, *response,
                      [this](storage::Catalog& catalog) {
                        return catalog.Run([this](storage::Transaction& transaction) {
                          return handlers::PauseScrub(transaction, context_.scrub);
                        });
                      });
}

grpc::Status AdminServiceImpl::DiscardDamaged(grpc::ServerContext* call,
                                              const v1::DiscardDamagedRequest* request,
                                              v1::DiscardDamagedResponse* response) {
  return ServeAudited(*call, context_, "DiscardDamaged", *request, *response,
                      [this](storage::Catalog& catalog) {
                        auto discarded = handlers::DiscardDamaged(catalog);
                        if (discarded.ok() && discarded->discarded_count() > 0)
                          context_.wake_sweep();
                        return discarded;
                      });
}

grpc::Status AdminServiceImpl::TraceClient(grpc::ServerContext* call,
                                           const v1::TraceClientRequest* request,
                                           grpc::ServerWriter<v1::TraceClientResponse>* stream) {
  RpcScope scope(*call, context_, "TraceClient");
  scope.add_received(request->ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  if (!request->client_id().empty()) {
    if (const auto id = handlers::ParseClientId(request->client_id()); !id.ok())
      return scope.Finish(id.status());
  }
  const absl::Cleanup leave = [this] { --watchers_; };
  if (++watchers_ > kMaxTraceWatchers || context_.trace == nullptr)
    return scope.Finish(MakeError(Reason::kOverloaded, "too many watch already", "watchers"));
  ClientTrace::Watch watch(*context_.trace, request->client_id(), request->peer());
  AuditedCall(*call, context_, "TraceClient", *request).Finish(absl::OkStatus());
  stream->SendInitialMetadata();  // Tells the caller that from now on it misses nothing.
  while (!call->IsCancelled()) {
    if (const absl::Status open = context_.gate.CheckOpen(); !open.ok()) return scope.Finish(open);
    const std::optional<v1::TraceClientResponse> event = watch.Next(kTraceCancelCheckInterval);
    const rpc::StreamWatchdog::Wait wait(context_.watchdog, *call);
    if (event) scope.add_sent(event->ByteSizeLong());
    if (event && !stream->Write(*event)) break;
  }
  return scope.Finish(absl::OkStatus());
}

grpc::Status AdminServiceImpl::ListAuditEntries(grpc::ServerContext* call,
                                                const v1::ListAuditEntriesRequest* request,
                                                v1::ListAuditEntriesResponse* response) {
  return ServeRead(*call, context_, "ListAuditEntries", *request, *response,
                   handlers::ListAuditEntries);
}

grpc::Status AdminServiceImpl::VerifyAudit(grpc::ServerContext* call,
                                           const v1::VerifyAuditRequest* request,
                                           grpc::ServerWriter<v1::VerifyAuditResponse>* stream) {
  RpcScope scope(*call, context_, "VerifyAudit");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  NoteRequest(*request, "VerifyAudit", scope);
  if (context_.audit_log == nullptr)
    return scope.Finish(absl::UnimplementedError("there is no audit log"));
  return scope.Finish(handlers::VerifyAudit(
      *context_.audit_log, *request, [&](const v1::VerifyAuditResponse& event) -> absl::Status {
        RETURN_IF_ERROR(context_.gate.CheckOpen());  // It would hold up the end for too long.
        scope.add_sent(event.ByteSizeLong());
        const rpc::StreamWatchdog::Wait wait(context_.watchdog, *call);
        return stream->Write(event) ? absl::OkStatus() : absl::CancelledError("the caller is gone");
      }));
}

grpc::Status AdminServiceImpl::ListBans(grpc::ServerContext* call,
                                        const v1::ListBansRequest* request,
                                        v1::ListBansResponse* response) {
  return ServeRead(*call, context_, "ListBans", *request, *response,
                   [this](storage::Snapshot& snapshot, const v1::ListBansRequest& message) {
                     return handlers::ListBans(snapshot, context_.clock.Now(), message);
                   });
}

grpc::Status AdminServiceImpl::AddBan(grpc::ServerContext* call, const v1::AddBanRequest* request,
                                      v1::AddBanResponse* response) {
  return ServeAudited(
      *call, context_, "AddBan", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::Transact(catalog, [&] {
          return handlers::AddBan::Prepare(context_.clock.Now(), CallerOf(*call), *request);
        });
      });
}

grpc::Status AdminServiceImpl::RemoveBan(grpc::ServerContext* call,
                                         const v1::RemoveBanRequest* request,
                                         v1::RemoveBanResponse* response) {
  return ServeAudited(
      *call, context_, "RemoveBan", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::Transact(catalog, [&] { return handlers::RemoveBan::Prepare(*request); });
      });
}

}  // namespace backup
