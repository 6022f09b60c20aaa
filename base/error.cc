#include "base/error.h"

#include "absl/strings/cord.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr char kReasonUrl[] = "backup.v1/reason";
constexpr char kSubjectUrl[] = "backup.v1/subject";

using absl::StatusCode;

constexpr ReasonInfo kReasons[] = {
    {Reason::kInvalidField, "INVALID_FIELD", StatusCode::kInvalidArgument},
    {Reason::kSizeLimit, "SIZE_LIMIT", StatusCode::kInvalidArgument},
    {Reason::kClientNotFound, "CLIENT_NOT_FOUND", StatusCode::kNotFound},
    {Reason::kFileNotFound, "FILE_NOT_FOUND", StatusCode::kNotFound},
    {Reason::kVersionNotFound, "VERSION_NOT_FOUND", StatusCode::kNotFound},
    {Reason::kPolicyNotFound, "POLICY_NOT_FOUND", StatusCode::kNotFound},
    {Reason::kNameTaken, "NAME_TAKEN", StatusCode::kAlreadyExists},
    {Reason::kCredentialsMissing, "CREDENTIALS_MISSING", StatusCode::kUnauthenticated},
    {Reason::kRoleDenied, "ROLE_DENIED", StatusCode::kPermissionDenied},
    {Reason::kRekeyRefused, "REKEY_REFUSED", StatusCode::kPermissionDenied},
    {Reason::kKeyNotSet, "KEY_NOT_SET", StatusCode::kFailedPrecondition},
    {Reason::kKeyMissing, "KEY_MISSING", StatusCode::kFailedPrecondition},
    {Reason::kKeyChangeRefused, "KEY_CHANGE_REFUSED", StatusCode::kFailedPrecondition},
    {Reason::kRetained, "RETAINED", StatusCode::kFailedPrecondition},
    {Reason::kStateCorrupt, "STATE_CORRUPT", StatusCode::kFailedPrecondition},
    {Reason::kContentRejected, "CONTENT_REJECTED", StatusCode::kFailedPrecondition},
    {Reason::kClientQuota, "CLIENT_QUOTA", StatusCode::kResourceExhausted},
    {Reason::kStorageFull, "STORAGE_FULL", StatusCode::kResourceExhausted},
    {Reason::kOverloaded, "OVERLOADED", StatusCode::kResourceExhausted},
    {Reason::kDraining, "DRAINING", StatusCode::kUnavailable},
    {Reason::kBackendDown, "BACKEND_DOWN", StatusCode::kUnavailable},
    {Reason::kStorageIo, "STORAGE_IO", StatusCode::kInternal},
    {Reason::kBlobDamaged, "BLOB_DAMAGED", StatusCode::kDataLoss},
};

std::optional<std::string> Payload(const absl::Status& status, absl::string_view url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  if (!payload) return std::nullopt;
  return std::string(*payload);
}

}  // namespace

std::span<const ReasonInfo> AllReasons() { return kReasons; }

const ReasonInfo& InfoOf(Reason reason) {
  const ReasonInfo& info = kReasons[static_cast<size_t>(reason)];
  CHECK(info.reason == reason) << "kReasons is out of order";
  return info;
}

std::optional<Reason> ReasonFromName(absl::string_view name) {
  for (const ReasonInfo& info : kReasons) {
    if (info.name == name) return info.reason;
  }
  return std::nullopt;
}

absl::Status MakeError(Reason reason, absl::string_view message, absl::string_view subject) {
  const ReasonInfo& info = InfoOf(reason);
  absl::Status status(info.code, message);
  status.SetPayload(kReasonUrl, absl::Cord(info.name));
  if (!subject.empty()) status.SetPayload(kSubjectUrl, absl::Cord(subject));
  return status;
}

std::optional<Reason> ReasonOf(const absl::Status& status) {
  const std::optional<std::string> name = Payload(status, kReasonUrl);
  if (!name) return std::nullopt;
  return ReasonFromName(*name);
}

std::string SubjectOf(const absl::Status& status) {
  return Payload(status, kSubjectUrl).value_or("");
}

}  // namespace backup
