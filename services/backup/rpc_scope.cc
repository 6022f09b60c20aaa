#include "services/backup/rpc_scope.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/rpc/status.h"
#include "glog/logging.h"
#include "services/backup/crypto/random.h"
#include "services/backup/service_metrics.h"

namespace backup {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr size_t kMaxRequestIdSize = 128;

// The caller's request id if it is short and printable, else a new one.
std::string RequestId(const grpc::ServerContext& context) {
  const auto found = context.client_metadata().find(kRequestIdKey);
  if (found != context.client_metadata().end()) {
    const std::string id(found->second.data(), found->second.size());
    const bool printable =
        std::all_of(id.begin(), id.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
    if (!id.empty() && id.size() <= kMaxRequestIdSize && printable) return id;
  }
  return ToUuidText(crypto::RandomBytes(16));
}

absl::string_view OutcomeName(const absl::Status& status) {
  if (status.ok()) return "OK";
  const std::optional<Reason> reason = ReasonOf(status);
  return reason ? InfoOf(*reason).name : "ERROR";
}

}  // namespace

RpcScope::RpcScope(grpc::ServerContext& call, const ServiceContext& context, absl::string_view rpc)
    : activity_(context.idle),
      metrics_(context.metrics),
      in_flight_(metrics_, kCallsInFlight),
      rpc_(rpc),
      request_id_(RequestId(call)) {
  call.AddInitialMetadata(kRequestIdKey, request_id_);
  VLOG(1) << "call rid=" << request_id_ << " rpc=" << rpc_ << " peer=" << call.peer();
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
  LOG(INFO) << "rid=" << request_id_ << " rpc=" << rpc_
            << " client=" << (client_id_.empty() ? "-" : client_id_)
            << " outcome=" << OutcomeName(outcome_) << " bytes=" << bytes_
            << " ms=" << took / std::chrono::milliseconds(1) << (outcome_.ok() ? "" : " error=")
            << outcome_.message();
  if (metrics_ != nullptr) {
    CountCall(*metrics_, {rpc_, OutcomeName(outcome_), verdict_, bytes_, absl::FromChrono(took)});
  }
}

}  // namespace backup
