#include "services/backupctl/exit_code.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "services/backupctl/output.h"

namespace backup::ctl {
namespace {

absl::string_view HintFor(Reason reason) {
  switch (reason) {
    case Reason::kClientNotFound:
      return "`backupctl client list` shows those there are";
    case Reason::kFileNotFound:
      return "`backupctl file list CLIENT` shows those there are";
    case Reason::kVersionNotFound:
      return "`backupctl file versions CLIENT FILE` shows those there are";
    case Reason::kPolicyNotFound:
      return "`backupctl policy list` shows those there are";
    case Reason::kBlobDamaged:
      return "`backupctl file versions CLIENT FILE` shows older versions, `backupctl verify` all "
             "damage";
    case Reason::kKeyMissing:
      return "restore the service's key.generations, or a snapshot of its state that has it";
    case Reason::kCredentialsMissing:
    case Reason::kRoleDenied:
      return "give a certificate that may do this (--tls-cert, --tls-key)";
    case Reason::kClientQuota:
      return "`backupctl client quota show` shows what is used";
    case Reason::kStorageFull:
      return "free space where the service keeps its data";
    case Reason::kStorageIo:
      return "look at the service's disk and log";
    case Reason::kOverloaded:
    case Reason::kDraining:
    case Reason::kBackendDown:
      return "try again later";
    default:
      return "";
  }
}

}  // namespace

absl::Status FromService(absl::Status error) {
  switch (error.code()) {
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return WithExitCode(std::move(error), static_cast<int>(ExitCode::kDenied));
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return WithExitCode(std::move(error), static_cast<int>(ExitCode::kUnreachable));
    case absl::StatusCode::kFailedPrecondition:
      // Also without a reason it is about no file that was given here.
      return WithExitCode(std::move(error), static_cast<int>(ExitCode::kFailed));
    default:
      return error;
  }
}

absl::Status SameKind(const absl::Status& error, absl::string_view message) {
  absl::Status same(error.code(), message);
  if (const std::optional<int> given = GivenExitCode(error)) same = WithExitCode(same, *given);
  return same;
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (const std::optional<int> given = GivenExitCode(status)) return ExitCode{*given};
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kOk;
    case absl::StatusCode::kInvalidArgument:
      return ExitCode::kUsage;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNoSuchObject;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kDamaged;
    case absl::StatusCode::kCancelled:
      return ExitCode::kInterrupted;
    case absl::StatusCode::kFailedPrecondition:
      // The service's errors carry a reason. Without one it is about a key file given here.
      return ReasonOf(status) ? ExitCode::kFailed : ExitCode::kNoSuchObject;
    default:
      return ExitCode::kFailed;
  }
}

std::string ErrorLine(const absl::Status& status) {
  std::string line(status.message());
  if (line.empty()) line = absl::StatusCodeToString(status.code());
  const std::string subject = SubjectOf(status);
  if (!subject.empty() && !absl::StrContains(line, subject))
    absl::StrAppend(&line, " (", subject, ")");
  if (const std::optional<Reason> reason = ReasonOf(status)) {
    // What is wrong with stored data has the same name everywhere.
    if (reason == Reason::kBlobDamaged || reason == Reason::kStorageIo ||
        reason == Reason::kKeyMissing)
      line = absl::StrCat(InfoOf(*reason).name, ": ", line);
    const absl::string_view hint = HintFor(*reason);
    if (!hint.empty()) absl::StrAppend(&line, "; ", hint);
  }
  return Printable(line);
}

}  // namespace backup::ctl
