#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace backup {

// Runs a program without a shell and returns what it writes to standard output. `words` are its
// name, looked for in $PATH unless it has a slash, and its arguments. It reads nothing, and has
// this process's environment. It is killed, with all that it started in its process group, once
// `deadline` is over or it has written more than `max_bytes`; this returns only after its end.
// Errors: NotFound and PermissionDenied if it cannot be run; with the end of what it wrote to
// standard error: DeadlineExceeded, ResourceExhausted (it wrote too much), FailedPrecondition (it
// did not end with 0).
absl::StatusOr<std::string> CommandOutput(const std::vector<std::string>& words,
                                          absl::Duration deadline, size_t max_bytes);

}  // namespace backup
