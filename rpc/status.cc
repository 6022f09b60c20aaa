#include "rpc/status.h"

#include <string>

#include "base/error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace backup::rpc {
namespace {

constexpr char kDomain[] = "backup.v1";
// How long a caller waits at least before it tries again after a passing error.
constexpr int kRetryDelayNanos = 100'000'000;

void AddRetryInfo(google::rpc::Status& out) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(kRetryDelayNanos);
  out.add_details()->PackFrom(retry);
}

void AddResource(const char* type, const std::string& subject, google::rpc::Status& out) {
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(type);
  resource.set_resource_name(subject);
  resource.set_description(out.message());
  out.add_details()->PackFrom(resource);
}

void AddQuota(const std::string& subject, google::rpc::Status& out) {
  google::rpc::QuotaFailure quota;
  auto* violation = quota.add_violations();
  violation->set_subject(subject);
  violation->set_description(out.message());
  out.add_details()->PackFrom(quota);
}

// The details that belong to a reason beside the ErrorInfo: the table in docs/operations.md.
void AddDetails(Reason reason, const std::string& subject, google::rpc::Status& out) {
  switch (reason) {
    case Reason::kInvalidField: {
      google::rpc::BadRequest bad;
      auto* violation = bad.add_field_violations();
      violation->set_field(subject);
      violation->set_description(out.message());
      out.add_details()->PackFrom(bad);
      return;
    }
    case Reason::kClientNotFound:
    case Reason::kNameTaken:
      return AddResource("client", subject, out);
    case Reason::kFileNotFound:
      return AddResource("file", subject, out);
    case Reason::kVersionNotFound:
    case Reason::kBlobDamaged:
      return AddResource("version", subject, out);
    case Reason::kPolicyNotFound:
      return AddResource("policy", subject, out);
    case Reason::kKeyNotSet:
    case Reason::kKeyMissing:
    case Reason::kKeyChangeRefused:
    case Reason::kRetained:
    case Reason::kStateCorrupt: {
      google::rpc::PreconditionFailure failure;
      auto* violation = failure.add_violations();
      violation->set_type(std::string(InfoOf(reason).name));
      violation->set_subject(subject);
      violation->set_description(out.message());
      out.add_details()->PackFrom(failure);
      return;
    }
    case Reason::kClientQuota:
      return AddQuota(subject, out);  // It does not pass by itself.
    case Reason::kStorageFull:
    case Reason::kOverloaded:
      AddQuota(subject, out);
      return AddRetryInfo(out);
    case Reason::kDraining:
    case Reason::kBackendDown:
      return AddRetryInfo(out);
    case Reason::kSizeLimit:
    case Reason::kCredentialsMissing:
    case Reason::kRoleDenied:
    case Reason::kRekeyRefused:
    case Reason::kContentRejected:
    case Reason::kStorageIo:
      return;
  }
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message(status.message());
  const std::optional<Reason> reason = ReasonOf(status);
  if (!reason) return grpc::Status(code, message);

  google::rpc::Status out;
  out.set_code(static_cast<int>(status.code()));
  out.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(InfoOf(*reason).name));
  info.set_domain(kDomain);
  const std::string subject = SubjectOf(status);
  if (!subject.empty()) (*info.mutable_metadata())["subject"] = subject;
  out.add_details()->PackFrom(info);
  AddDetails(*reason, subject, out);
  return grpc::Status(code, message, out.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      google::rpc::ErrorInfo info;
      if (!detail.UnpackTo(&info) || info.domain() != kDomain) continue;
      const std::optional<Reason> reason = ReasonFromName(info.reason());
      const auto subject = info.metadata().find("subject");
      if (reason && InfoOf(*reason).code == static_cast<absl::StatusCode>(status.error_code())) {
        return MakeError(*reason, status.error_message(),
                         subject == info.metadata().end() ? "" : subject->second);
      }
    }
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace backup::rpc
