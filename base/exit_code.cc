#include "base/exit_code.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr char kExitCodeUrl[] = "backup.v1/exit-code";

}  // namespace

absl::Status WithExitCode(absl::Status error, int exit_code) {
  error.SetPayload(kExitCodeUrl, absl::Cord(absl::StrCat(exit_code)));
  return error;
}

absl::Status WithMessage(const absl::Status& error, absl::string_view message) {
  absl::Status changed(error.code(), message);
  error.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { changed.SetPayload(url, payload); });
  return changed;
}

std::optional<int> GivenExitCode(const absl::Status& error) {
  int exit_code = 0;
  const auto payload = error.GetPayload(kExitCodeUrl);
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &exit_code)) return std::nullopt;
  return exit_code;
}

int ExitCodeOf(const absl::Status& error) {
  if (const std::optional<int> given = GivenExitCode(error)) return *given;
  if (ReasonOf(error) == Reason::kStateCorrupt) return kExitDamaged;
  switch (error.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
      return kExitBadConfiguration;
    default:
      return kExitFailed;
  }
}

int Refuse(const absl::Status& error) {
  LOG(ERROR) << "cannot start: " << error.message();
  return ExitCodeOf(error);
}

}  // namespace backup
