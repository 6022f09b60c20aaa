#pragma once

#include <string>

#include "absl/types/span.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// The exit code of --explain if some of the capture fits no dialect.
inline constexpr int kExitDoesNotFit = 3;

// Prints how `dialects` read the capture in the file at `path` (docs/dialects.md): what --explain
// does. Returns the exit code of the process: 0 if each connection fits a dialect, kExitDoesNotFit
// if not, kExitBadConfiguration, with a line of the log, if the file is no capture.
int ExplainCapture(const std::string& path, absl::Span<const wire::Dialect> dialects);

}  // namespace backup::bridge
