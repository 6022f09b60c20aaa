#pragma once

#include <string>

#include "absl/status/status.h"

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

// The exit code that tells a script what kind of error it was.
ExitCode ExitCodeOf(const absl::Status& status);

// The error as one printable line for people: what went wrong, about what, and what to do.
std::string ErrorLine(const absl::Status& status);

}  // namespace backup::ctl
