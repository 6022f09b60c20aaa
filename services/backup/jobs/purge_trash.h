#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/clock.h"
#include "services/backup/handlers/trash.h"
#include "services/backup/jobs/job.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Removes what was in the trash for longer than it can be taken back, the oldest first. The trash
// is its own record of how far it is: what went is not there any more. Counts versions and clients.
// Used by one thread at a time.
class PurgeTrash final : public Job {
 public:
  static constexpr absl::string_view kName = "purge";

  // All that is borrowed must outlive this. `blobs_were_dropped`, which must return at once, is
  // called when content may have lost its last reference. A run fails with what `check` returns,
  // before it does anything: what is removed by its age needs a time that is right, and of what
  // retention deleted all that it was judged by.
  PurgeTrash(
      storage::Catalog& catalog, const Clock& clock, const handlers::TrashPolicy& policy,
      std::function<void()> blobs_were_dropped,
      std::function<absl::Status()> check = [] { return absl::OkStatus(); })
      : catalog_(catalog),
        clock_(clock),
        policy_(policy),
        blobs_were_dropped_(std::move(blobs_were_dropped)),
        check_(std::move(check)) {}

  absl::string_view name() const override { return kName; }
  absl::string_view audit_action() const override { return "trash purge"; }
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  storage::Catalog& catalog_;
  const Clock& clock_;
  const handlers::TrashPolicy policy_;
  const std::function<void()> blobs_were_dropped_;
  const std::function<absl::Status()> check_;
  std::optional<handlers::Purge> purge_;  // Of the run that goes on.
};

}  // namespace backup::jobs
