#include "services/backupctl/connection.h"

#include <algorithm>
#include <future>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "rpc/deadline.h"
#include "rpc/status.h"
#include "services/backupctl/exit_code.h"

namespace backup::ctl {
namespace {

// A transfer may take this long, and more with its size.
constexpr absl::Duration kLeastTransferTimeout = absl::Seconds(60);
constexpr int64_t kLeastBytesPerSecond = 1024;

// Uploads are not in the list: `file put` repeats them itself, as only it can read the file again.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "backup.v1.CatalogService"}, {"service": "backup.v1.AdminService"},
             {"service": "backup.v1.IngestService", "method": "ReportTransfer"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "5s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"]}
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})";

constexpr char kHealthCheckMethod[] = "/grpc.health.v1.Health/Check";

// Debian has the health service's code but not its health.proto, and its messages are tiny.
// HealthCheckRequest has one field, the name of a service; the empty name, which means all of them,
// is encoded as nothing.
grpc::ByteBuffer EncodeHealthCheckRequest() {
  const grpc::Slice nothing;
  return grpc::ByteBuffer(&nothing, 1);
}

// HealthCheckResponse has field 1, `status`, an enumeration in which 1 is SERVING.
absl::StatusOr<bool> DecodeHealthCheckResponse(grpc::ByteBuffer& response) {
  constexpr int kStatusField = 1;
  constexpr uint64_t kServing = 1;
  grpc::Slice bytes;
  if (!response.DumpToSingleSlice(&bytes).ok()) return absl::InternalError("no health answer");
  google::protobuf::UnknownFieldSet fields;
  if (!fields.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
    return absl::InternalError("the health answer makes no sense");
  }
  bool serving = false;
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    if (field.number() != kStatusField) continue;
    if (field.type() != google::protobuf::UnknownField::TYPE_VARINT) continue;
    serving = field.varint() == kServing;
  }
  return serving;
}

}  // namespace

Call::Call(Interrupt& interrupt, absl::Duration timeout) : interrupt_(interrupt) {
  context_.set_deadline(rpc::DeadlineAfter(timeout));
  interrupt_.Add(context_);
}

Call::~Call() { interrupt_.Remove(context_); }

Connection::Connection(std::shared_ptr<grpc::Channel> channel, std::string target,
                       absl::Duration timeout, Interrupt& interrupt, Diagnose diagnose)
    : channel_(std::move(channel)),
      target_(std::move(target)),
      timeout_(timeout),
      interrupt_(interrupt),
      diagnose_(std::move(diagnose)),
      ingest_(v1::IngestService::NewStub(channel_)),
      catalog_(v1::CatalogService::NewStub(channel_)),
      lifecycle_(v1::LifecycleService::NewStub(channel_)),
      admin_(v1::AdminService::NewStub(channel_)) {}

absl::Duration Connection::TransferTimeout(int64_t size_bytes) const {
  return std::max(timeout_, kLeastTransferTimeout) +
         absl::Seconds(size_bytes / kLeastBytesPerSecond);
}

absl::Status Connection::Explain(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  if (interrupt_.requested()) return interrupt_.Check();
  return FromService(WithRemedy(rpc::FromGrpc(status)));
}

absl::Status Connection::WithRemedy(absl::Status error) const {
  if (ReasonOf(error)) return error;
  if (absl::IsUnavailable(error) || absl::IsDeadlineExceeded(error)) {
    const std::string why = diagnose_();
    if (!why.empty()) return absl::Status(error.code(), why);
  }
  switch (error.code()) {
    case absl::StatusCode::kUnavailable:
      return absl::UnavailableError(absl::StrCat(
          "the service at ", target_, " cannot be reached (", error.message(),
          "): is it running there? --service or BACKUP_SERVICE names another address"));
    case absl::StatusCode::kDeadlineExceeded:
      return absl::DeadlineExceededError(
          absl::StrCat("the service at ", target_,
                       " did not answer in time: is it the right address?"
                       " --timeout waits longer"));
    case absl::StatusCode::kUnimplemented:
      return absl::UnimplementedError(
          absl::StrCat("what listens at ", target_,
                       " does not know this request: is it a backup-service of this version?"));
    case absl::StatusCode::kCancelled:
      return absl::UnknownError("the service cancelled the request");
    default:
      return error;
  }
}

absl::StatusOr<bool> Connection::IsServing() {
  grpc::GenericStub stub(channel_);
  Call call(interrupt_, timeout_);
  const grpc::ByteBuffer request = EncodeHealthCheckRequest();
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&call.context(), kHealthCheckMethod, grpc::StubOptions(), &request, &response,
                 [&](grpc::Status status) { done.set_value(std::move(status)); });
  RETURN_IF_ERROR(Explain(done.get_future().get()));
  return DecodeHealthCheckResponse(response);
}

absl::StatusOr<v1::Client> Connection::FindClient(absl::string_view text) {
  v1::GetClientRequest by_id;
  if (FromUuidText(text)) {
    by_id.set_client_id(std::string(text));
    absl::StatusOr<v1::GetClientResponse> found =
        CallUnary(*catalog_, &v1::CatalogService::StubInterface::GetClient, by_id);
    if (found.ok()) return found->client();
    if (!absl::IsNotFound(found.status())) return found.status();
  }
  // A client may be called like an id.
  v1::GetClientRequest by_name;
  by_name.set_name(std::string(text));
  ASSIGN_OR_RETURN(const v1::GetClientResponse found,
                   CallUnary(*catalog_, &v1::CatalogService::StubInterface::GetClient, by_name));
  return found.client();
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    const std::string& server_name) {
  grpc::ChannelArguments args;
  args.SetServiceConfigJSON(kServiceConfig);
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // As fast without the probe at 1 MiB messages, with a third of the memory.
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  if (!server_name.empty()) args.SetSslTargetNameOverride(server_name);
  return grpc::CreateCustomChannel(target, credentials, args);
}

}  // namespace backup::ctl
