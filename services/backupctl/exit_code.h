#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace backup::ctl {

// What scripts may rely on: the table in docs/operations.md.
enum class ExitCode : int {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kPartial = 3,
  kNoSuchObject = 10,
  kLocked = 11,
  kDenied = 12,
  kSchemaTooNew = 13,
  kDamaged = 14,
  kUnreachable = 15,
  kInterrupted = 130,
};

// `error`, which came from the service or from the way to it: only such ones are kDenied or
// kUnreachable. The same code of a file or folder of this machine is kFailed.
absl::Status FromService(absl::Status error);

// Another error of the same kind: with the same code and the same exit code.
absl::Status SameKind(const absl::Status& error, absl::string_view message);

// The exit code that tells a script what kind of error it was.
ExitCode ExitCodeOf(const absl::Status& status);

// The error as one printable line for people: what went wrong, about what, and what to do.
std::string ErrorLine(const absl::Status& status);

}  // namespace backup::ctl
