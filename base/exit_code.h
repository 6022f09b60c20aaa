#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace backup {

// Exit codes of the daemons: docs/operations.md.
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadConfiguration = 10;
inline constexpr int kExitInUse = 11;
inline constexpr int kExitNewerSchema = 13;
inline constexpr int kExitDamaged = 14;

// `error` as one that ends the process with `exit_code`.
absl::Status WithExitCode(absl::Status error, int exit_code);

// `error` with another message; all else it carries stays.
absl::Status WithMessage(const absl::Status& error, absl::string_view message);

// What WithExitCode() gave it, if anything.
std::optional<int> GivenExitCode(const absl::Status& error);

// The exit code of a process whose start `error` stopped: the one given, else
// kExitBadConfiguration if it takes a change of the configuration to mend it, else kExitFailed.
int ExitCodeOf(const absl::Status& error);

// Says in one line of the log what stopped the start; returns its exit code.
int Refuse(const absl::Status& error);

}  // namespace backup
