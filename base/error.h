#pragma once

#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace backup {

// Why a request failed, for programs: each is the `reason` of the API's ErrorInfo, has one
// canonical code, a row in docs/operations.md and an answer in the legacy protocol
// (bridge/request/translation.cc).
enum class Reason {
  kInvalidField,
  kSizeLimit,
  kClientNotFound,
  kFileNotFound,
  kVersionNotFound,
  kPolicyNotFound,
  kNameTaken,
  kCredentialsMissing,
  kRoleDenied,
  kRekeyRefused,
  kKeyNotSet,
  kKeyMissing,
  kKeyChangeRefused,
  kRetained,
  kStateCorrupt,
  kContentRejected,
  kClientQuota,
  kStorageFull,
  kOverloaded,
  kDraining,
  kBackendDown,
  kStorageIo,
  kBlobDamaged,
};

struct ReasonInfo {
  Reason reason;
  absl::string_view name;  // Stable, for example "CLIENT_NOT_FOUND".
  absl::StatusCode code;
};

// Every reason, in the order of the enumeration.
std::span<const ReasonInfo> AllReasons();
const ReasonInfo& InfoOf(Reason reason);
std::optional<Reason> ReasonFromName(absl::string_view name);

// A status with `reason`'s code that carries the reason. `message` is short, says what to do, and
// holds no unescaped bytes from outside. `subject` is what it is about: the field's name for
// kInvalidField, the client, file or version for the NotFound ones, the limit for kSizeLimit; may
// be empty.
absl::Status MakeError(Reason reason, absl::string_view message, absl::string_view subject = "");

// The reason a status carries, if any, and its subject, empty if none.
std::optional<Reason> ReasonOf(const absl::Status& status);
std::string SubjectOf(const absl::Status& status);

}  // namespace backup
