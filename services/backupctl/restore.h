#pragma once

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/output.h"
#include "services/backupctl/restore_folder.h"
#include "services/backupctl/restore_report.h"
#include "services/backupctl/version_choice.h"

namespace backup::ctl {

// So many files at once at most: each takes a few pieces of memory, 32 MiB at most.
inline constexpr int kMaxParallelFiles = 16;

struct RestoreOptions {
  bool force = false;           // Replace files with another content.
  bool dry_run = false;         // Look only.
  bool portable_names = false;  // NameRules::portable.
  bool fallback = false;        // Of a damaged version take the newest one before it that is not.
  int parallel = 1;             // Files at once, kMaxParallelFiles at most.
};

// Puts what is chosen of a client's files into `folder`; what is there already with the same
// content is kept, so a restore that was interrupted goes on. Tells of each file in the order of
// their names. A file that fails is told and counted, and the others go on; but what would fail for
// all of them ends it with that error.
absl::StatusOr<RestoreSummary> Restore(Connection& connection, ChosenVersions& versions,
                                       const RestoreFolder& folder, const RestoreOptions& options,
                                       Output& output);

// Writes them to `sink` as a tar archive. As nothing can be taken back there, a file that is too
// large for memory is downloaded twice: first to see that it is right. Should that be wrong the
// second time, the archive breaks off: an error, and for readers one without an end.
absl::StatusOr<RestoreSummary> RestoreToTar(Connection& connection, ChosenVersions& versions,
                                            ByteSink& sink, const RestoreOptions& options,
                                            Output& output);

}  // namespace backup::ctl
