#include "services/backup/jobs/purge_trash.h"

#include "base/low_priority_thread.h"
#include "base/status_macros.h"

namespace backup::jobs {

absl::StatusOr<Job::Progress> PurgeTrash::Step(const std::string& cursor, int64_t budget,
                                               const std::stop_token& token) {
  BecomeLowPriority();
  RETURN_IF_ERROR(check_());
  // The cursor only says that a run goes on; one that another process began begins again.
  if (cursor.empty() || !purge_) purge_.emplace(catalog_, std::nullopt);
  const absl::Time now = clock_.Now();
  Progress progress;
  // Each in a transaction of its own, so that others come between.
  while (progress.count < budget && !purge_->is_done() && !token.stop_requested()) {
    ASSIGN_OR_RETURN(
        const handlers::Purge::Counts purged,
        purge_->Step(now - policy_.retention, now, static_cast<int>(budget - progress.count)));
    progress.count += purged.versions + purged.clients;
  }
  progress.is_done = purge_->is_done();
  progress.cursor = "on";
  if (progress.count > 0) blobs_were_dropped_();
  return progress;
}

}  // namespace backup::jobs
