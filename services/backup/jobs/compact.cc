#include "services/backup/jobs/compact.h"

#include "base/status_macros.h"

namespace backup::jobs {

absl::StatusOr<Job::Progress> Compact::Step(const std::string& /*cursor*/, int64_t /*budget*/,
                                            const std::stop_token& /*token*/) {
  ASSIGN_OR_RETURN(const storage::Catalog::Compacted step, catalog_.Compact());
  Progress progress;
  progress.is_done = step.is_done;
  progress.count = step.pages;
  return progress;
}

}  // namespace backup::jobs
