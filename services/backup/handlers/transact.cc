#include "services/backup/handlers/transact.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace backup::handlers {

// No reason has this code (base/error.cc).
absl::Status Outdated(absl::string_view what) { return absl::AbortedError(what); }

bool IsOutdated(const absl::Status& status) { return absl::IsAborted(status); }

absl::Status OutdatedTooOften(const absl::Status& outdated) {
  return MakeError(Reason::kBackendDown,
                   absl::StrCat(outdated.message(), " again and again: try again later"));
}

}  // namespace backup::handlers
