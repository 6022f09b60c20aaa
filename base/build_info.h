#pragma once

#include "absl/strings/string_view.h"

namespace backup {

// The commit that was built, "unknown" if nobody said which. Thread-safe.
absl::string_view BuildCommit();

}  // namespace backup
