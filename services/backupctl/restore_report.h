#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "backup/v1/types.pb.h"
#include "services/backupctl/output.h"
#include "services/backupctl/path_plan.h"
#include "services/backupctl/progress_bar.h"

namespace backup::ctl {

// What became of the files of a restore.
struct RestoreSummary {
  int64_t files = 0;    // Restored; in a dry run, those that would be.
  int64_t bytes = 0;    // Of these.
  int64_t kept = 0;     // Were there already, with the same content.
  int64_t renamed = 0;  // Of all these, those with another name than they had,
  int64_t older = 0;    // and those of which a newer version is damaged.
  int64_t failed = 0;
  int64_t unverified = 0;     // Without a verified version (by then): there is nothing to restore.
  int64_t removed_parts = 0;  // Of files, which an interrupted restore left.
};

// Tells of each file what became of it, and counts. Used by one thread at a time.
class RestoreReport {
 public:
  // Both must outlive it. What is told wipes `progress`.
  RestoreReport(Output& output, ProgressBar& progress, bool dry_run)
      : output_(output), progress_(progress), dry_run_(dry_run) {}

  void Restored(const v1::FileVersion& version, const PlannedPath& place);
  void Kept(const v1::FileVersion& version, const PlannedPath& place);
  // Before one of these: it is not the version that was meant, which is damaged.
  void Instead(const v1::FileVersion& meant, const v1::FileVersion& version);
  void Failed(const v1::FileVersion& version, const absl::Status& why);

  RestoreSummary& summary() { return summary_; }

 private:
  void Tell(absl::string_view what, const v1::FileVersion& version, const PlannedPath& place);

  Output& output_;
  ProgressBar& progress_;
  const bool dry_run_;
  RestoreSummary summary_;
};

// Whether what befell one file would befall all: the service is away, the disk is full, ...
bool EndsEverything(const absl::Status& status);

// The error that ended a restore, with what was done before.
absl::Status Incomplete(const absl::Status& why, const RestoreSummary& summary);

}  // namespace backup::ctl
