#include "services/backup/rpc_scope.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "backup/v1/admin.pb.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/ingest.pb.h"
#include "backup/v1/lifecycle.pb.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "rpc/status.h"
#include "rpc/target.h"
#include "services/backup/audited_call.h"
#include "services/backup/service_metrics.h"

namespace backup {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr size_t kMaxRequestIdSize = 128;

// The paths of our methods by their names, which no two of our services share.
std::map<absl::string_view, std::string> MakeMethodPaths() {
  std::map<absl::string_view, std::string> paths;
  for (const google::protobuf::FileDescriptor* file :
       {v1::UploadFileRequest::descriptor()->file(), v1::DownloadFileRequest::descriptor()->file(),
        v1::ListTrashRequest::descriptor()->file(), v1::GetStatusRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      const google::protobuf::ServiceDescriptor& service = *file->service(s);
      for (int m = 0; m < service.method_count(); ++m) {
        const std::string& name = service.method(m)->name();
        CHECK(paths.emplace(name, absl::StrCat("/", service.full_name(), "/", name)).second)
            << name;
      }
    }
  }
  return paths;
}

absl::Status Admit(const grpc::ServerContextBase& call, const ServiceContext& context,
                   absl::string_view rpc) {
  RETURN_IF_ERROR(context.gate.CheckOpen());
  if (context.authorization == nullptr) return absl::OkStatus();
  static const auto& paths = *new std::map<absl::string_view, std::string>(MakeMethodPaths());
  return context.authorization->Check(RoleOf(*call.auth_context()), paths.at(rpc));
}

bool IsBridge(const grpc::ServerContextBase& call, const ServiceContext& context) {
  if (context.authorization != nullptr) return RoleOf(*call.auth_context()) == kBridgeRole;
  return context.callers_are_local;
}

// What the bridge says of the request that the call stands for.
constexpr char kLegacyPeerKey[] = "x-legacy-peer";
constexpr char kLegacyConnectionKey[] = "x-legacy-connection";
constexpr char kLegacyRequestKey[] = "x-legacy-request-bin";

std::string Metadata(const grpc::ServerContextBase& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return "";
  return std::string(found->second.data(), found->second.size());
}

// The caller's request id if it is short and printable, else a new one.
std::string RequestId(const grpc::ServerContextBase& context) {
  const auto found = context.client_metadata().find(kRequestIdKey);
  if (found != context.client_metadata().end()) {
    const std::string id(found->second.data(), found->second.size());
    const bool printable =
        std::all_of(id.begin(), id.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
    if (!id.empty() && id.size() <= kMaxRequestIdSize && printable) return id;
  }
  return ToUuidText(crypto::RandomBytes(16));
}

}  // namespace

RpcScope::RpcScope(grpc::ServerContextBase& call, const ServiceContext& context,
                   absl::string_view rpc)
    : call_(call),
      context_(context),
      admitted_(Admit(call, context, rpc)),
      in_flight_(context.metrics.calls_in_flight),
      uploading_(rpc == "UploadFile" ? context.metrics.uploads_in_progress : Gauge()),
      rpc_(rpc),
      request_id_(RequestId(call)) {
  // Which bridges do as long as they run.
  if (rpc != "SyncBans") activity_.emplace(context.idle);
  // Who watches has to do with nothing that is sealed, and may do so for ever.
  if (rpc != "TraceClient") key_use_.emplace(context.master_key);
  context.metrics.calls_started.With({rpc}).Add();
  call.AddInitialMetadata(kRequestIdKey, request_id_);
  VLOG(1) << "call rid=" << request_id_ << " rpc=" << rpc_
          << " peer=" << rpc::PeerText(call.peer());
}

grpc::Status RpcScope::Finish(const absl::Status& status) {
  outcome_ = status;
  return rpc::ToGrpc(status);
}

void RpcScope::set_client(absl::string_view client_id) {
  const std::optional<ClientId> id = FromUuid<ClientId>(client_id);
  if (id) client_id_ = ToUuid(*id);
}

RpcScope::~RpcScope() {
  const auto took = std::chrono::steady_clock::now() - start_;
  LOG_IF(INFO, !is_routine_ || !outcome_.ok())
      << "rid=" << request_id_ << " rpc=" << rpc_
      << " client=" << (client_id_.empty() ? "-" : client_id_)
      << " outcome=" << OutcomeName(outcome_) << " bytes=" << bytes_
      << " ms=" << took / std::chrono::milliseconds(1) << (outcome_.ok() ? "" : " error=")
      << outcome_.message();
  const std::optional<Reason> reason = ReasonOf(admitted_);
  if (reason == Reason::kCredentialsMissing || reason == Reason::kRoleDenied)
    AuditFailedCall(context_, AuditEntryOf(call_, context_, rpc_, nullptr), admitted_);
  if (context_.trace != nullptr && context_.trace->active()) Trace(absl::FromChrono(took));
  CountCall(context_.metrics, {.rpc = rpc_,
                               .outcome = outcome_,
                               .cancelled = call_.IsCancelled(),
                               .verdict = verdict_,
                               .from_old_client = IsBridge(call_, context_) &&
                                                  !Metadata(call_, kLegacyPeerKey).empty(),
                               .checksum_is_wrong = context_.uploads.corrupt_checksums,
                               .bytes = bytes_,
                               .received = received_,
                               .sent = sent_,
                               .took = absl::FromChrono(took)});
}

void RpcScope::Trace(absl::Duration took) const {
  if (!IsBridge(call_, context_)) return;
  v1::TraceClientResponse event;
  event.set_peer(Metadata(call_, kLegacyPeerKey));
  if (event.peer().empty()) return;
  const absl::Time now = context_.clock.Now();
  event.mutable_time()->set_seconds(absl::ToUnixSeconds(now));
  event.mutable_time()->set_nanos(static_cast<int32_t>(absl::ToUnixNanos(now) % 1'000'000'000));
  event.set_request_id(request_id_);
  event.set_client_id(client_id_);
  event.set_connection(Metadata(call_, kLegacyConnectionKey));
  event.set_request(Metadata(call_, kLegacyRequestKey));
  event.set_outcome(std::string(OutcomeName(outcome_)));
  event.set_error(outcome_.ok() ? remark_ : std::string(outcome_.message()));
  event.set_content_bytes(bytes_);
  event.set_duration_micros(absl::ToInt64Microseconds(took));
  context_.trace->Publish(event);
}

}  // namespace backup
