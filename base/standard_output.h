#pragma once

#include "absl/status/status.h"

namespace backup {

// Writes out what std::cout still holds. Internal, with what went wrong, if that or anything
// before it could not be written.
absl::Status FlushStandardOutput();

// Ends the process after it printed what was asked for: with 0, or with 1 and a line on standard
// error if that could not be written.
[[noreturn]] void ExitAfterOutput();

}  // namespace backup
