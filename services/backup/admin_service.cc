#include "services/backup/admin_service.h"

#include "absl/cleanup/cleanup.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/handlers/catalog_queries.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/limits.h"
#include "services/backup/rpc_scope.h"

namespace backup {
namespace {

// How soon a watcher's end is noticed.
constexpr absl::Duration kTraceCancelCheckInterval = absl::Milliseconds(200);

// As --debug: call traces and hex dumps.
constexpr int kDebugVerbosity = 2;

absl::Status ChangeLogLevel(const v1::SetLogLevelRequest& request) {
  const std::string& pattern = request.module_pattern();
  if (pattern.empty() || pattern.size() > kMaxModulePatternSize) {
    return MakeError(Reason::kInvalidField, "module_pattern must name a source file, or be *",
                     "module_pattern");
  }
  const bool everything = pattern == "*";
  switch (request.level()) {
    case v1::LOG_LEVEL_DEBUG:
    case v1::LOG_LEVEL_INFO: {
      const int verbosity = request.level() == v1::LOG_LEVEL_DEBUG ? kDebugVerbosity : 0;
      FLAGS_minloglevel = google::GLOG_INFO;
      if (everything) FLAGS_v = verbosity;
      if (!everything) google::SetVLOGLevel(pattern.c_str(), verbosity);
      return absl::OkStatus();
    }
    case v1::LOG_LEVEL_WARNING:
    case v1::LOG_LEVEL_ERROR:
      if (!everything) {
        return MakeError(Reason::kInvalidField,
                         "levels above INFO can only be set for everything (*)", "module_pattern");
      }
      FLAGS_v = 0;
      FLAGS_minloglevel =
          request.level() == v1::LOG_LEVEL_WARNING ? google::GLOG_WARNING : google::GLOG_ERROR;
      return absl::OkStatus();
    default:
      return MakeError(Reason::kInvalidField, "level must be one of the named levels", "level");
  }
}

}  // namespace

grpc::Status AdminServiceFace::GetStatus(grpc::ServerContext* call,
                                         const v1::GetStatusRequest* request,
                                         v1::GetStatusResponse* response) {
  RpcScope scope(*call, context_, "GetStatus");
  scope.add_received(request->ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  const absl::StatusOr<storage::Counts> counts = context_.catalog.Count();
  if (!counts.ok()) return scope.Finish(counts.status());
  response->set_version(BACKUP_VERSION);
  response->mutable_start_time()->set_seconds(absl::ToUnixSeconds(info_.start_time));
  for (const std::string& mode : info_.modes) response->add_modes(mode);
  response->set_at_rest(info_.at_rest);
  response->set_client_count(counts->clients);
  response->set_file_count(counts->files);
  response->set_version_count(counts->versions);
  response->set_verified_version_count(counts->verified_versions);
  response->set_stored_bytes(counts->stored_bytes);
  if (counts->last_verified_time) {
    response->mutable_last_verified_time()->set_seconds(
        absl::ToUnixSeconds(*counts->last_verified_time));
  }
  scope.add_sent(response->ByteSizeLong());
  return scope.Finish(absl::OkStatus());
}

grpc::Status AdminServiceFace::VerifyStore(grpc::ServerContext* call,
                                           const v1::VerifyStoreRequest* request,
                                           grpc::ServerWriter<v1::VerifyStoreResponse>* stream) {
  RpcScope scope(*call, context_, "VerifyStore");
  scope.add_received(request->ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  return scope.Finish(handlers::VerifyStore(
      context_.catalog, context_.blobs, context_.master_key, info_.start_time,
      [&](const v1::VerifyStoreResponse& event) -> absl::Status {
        RETURN_IF_ERROR(context_.gate.CheckOpen());  // It would hold up the end for too long.
        scope.add_sent(event.ByteSizeLong());
        const StreamWatchdog::Wait wait(context_.watchdog, *call);
        return stream->Write(event) ? absl::OkStatus() : absl::CancelledError("the caller is gone");
      }));
}

grpc::Status AdminServiceFace::SetLogLevel(grpc::ServerContext* call,
                                           const v1::SetLogLevelRequest* request,
                                           v1::SetLogLevelResponse*) {
  RpcScope scope(*call, context_, "SetLogLevel");
  scope.add_received(request->ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  return scope.Finish(ChangeLogLevel(*request));
}

grpc::Status AdminServiceFace::ListStaleClients(grpc::ServerContext* call,
                                                const v1::ListStaleClientsRequest* request,
                                                v1::ListStaleClientsResponse* response) {
  RpcScope scope(*call, context_, "ListStaleClients");
  scope.add_received(request->ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  absl::StatusOr<v1::ListStaleClientsResponse> result =
      handlers::ListStaleClients(context_.catalog, context_.clock, *request);
  if (!result.ok()) return scope.Finish(result.status());
  *response = *std::move(result);
  scope.add_sent(response->ByteSizeLong());
  return scope.Finish(absl::OkStatus());
}

grpc::Status AdminServiceFace::TraceClient(grpc::ServerContext* call,
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
  stream->SendInitialMetadata();  // Tells the caller that from now on it misses nothing.
  while (!call->IsCancelled()) {
    if (const absl::Status open = context_.gate.CheckOpen(); !open.ok()) return scope.Finish(open);
    const std::optional<v1::TraceClientResponse> event = watch.Next(kTraceCancelCheckInterval);
    const StreamWatchdog::Wait wait(context_.watchdog, *call);
    if (event) scope.add_sent(event->ByteSizeLong());
    if (event && !stream->Write(*event)) break;
  }
  return scope.Finish(absl::OkStatus());
}

}  // namespace backup
