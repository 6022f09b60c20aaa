#include "tests/bench/operator.h"

#include "absl/time/time.h"
#include "base/status_macros.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "rpc/deadline.h"

namespace backup::bench {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(10);

absl::Status ToStatus(const grpc::Status& status) {
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.error_message());
}

template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(rpc::DeadlineAfter(kDeadline));
  Response response;
  RETURN_IF_ERROR(ToStatus((stub.*method)(&context, request, &response)));
  return response;
}

// Calls `use` with each response of a stream to its end.
template <typename Response, typename Open, typename Use>
absl::Status ReadAll(const Open& open, const Use& use) {
  grpc::ClientContext context;
  context.set_deadline(rpc::DeadlineAfter(kDeadline));
  const auto stream = open(context);
  Response response;
  while (stream->Read(&response)) use(response);
  return ToStatus(stream->Finish());
}

}  // namespace

Operator::Operator(const std::string& address)
    : channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
      admin_(v1::AdminService::NewStub(channel_)),
      lifecycle_(v1::LifecycleService::NewStub(channel_)) {}

absl::StatusOr<v1::GetStatusResponse> Operator::Status() {
  return Call(*admin_, &v1::AdminService::Stub::GetStatus, v1::GetStatusRequest());
}

absl::StatusOr<int64_t> Operator::VersionCount() {
  ASSIGN_OR_RETURN(const v1::GetStatusResponse status, Status());
  return status.version_count();
}

absl::StatusOr<int64_t> Operator::TrashVersionCount() {
  ASSIGN_OR_RETURN(const v1::GetStatusResponse status, Status());
  return status.trash_version_count();
}

absl::StatusOr<v1::Scrub> Operator::StartScrub() {
  ASSIGN_OR_RETURN(const v1::StartScrubResponse response,
                   Call(*admin_, &v1::AdminService::Stub::StartScrub, v1::StartScrubRequest()));
  return response.scrub();
}

absl::StatusOr<v1::Scrub> Operator::GetScrub() {
  ASSIGN_OR_RETURN(const v1::GetScrubResponse response,
                   Call(*admin_, &v1::AdminService::Stub::GetScrub, v1::GetScrubRequest()));
  return response.scrub();
}

absl::Status Operator::SetPolicy(const v1::RetentionPolicy& policy) {
  v1::SetPolicyRequest request;
  *request.mutable_policy() = policy;
  return Call(*lifecycle_, &v1::LifecycleService::Stub::SetPolicy, request).status();
}

absl::StatusOr<int64_t> Operator::PreviewRetention() {
  int64_t versions = 0;
  RETURN_IF_ERROR(ReadAll<v1::PreviewRetentionResponse>(
      [&](grpc::ClientContext& context) { return lifecycle_->PreviewRetention(&context, {}); },
      [&](const auto& part) { versions += part.decisions_size(); }));
  return versions;
}

absl::Status Operator::EmptyTrash() {
  return ReadAll<v1::EmptyTrashResponse>(
      [&](grpc::ClientContext& context) { return lifecycle_->EmptyTrash(&context, {}); },
      [](const auto&) {});
}

absl::StatusOr<v1::BackUpStateResponse> Operator::BackUpState() {
  return Call(*admin_, &v1::AdminService::Stub::BackUpState, v1::BackUpStateRequest());
}

}  // namespace backup::bench
