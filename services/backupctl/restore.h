#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/output.h"
#include "services/backupctl/restore_folder.h"

namespace backup::ctl {

struct RestoreSummary {
  int64_t files = 0;
  int64_t bytes = 0;
  int64_t failed = 0;
  int64_t unverified = 0;  // Files without a verified version: there is nothing to restore.
  absl::Duration elapsed;
};

// Puts the newest verified version of each of a client's files into `folder`. A file that fails is
// reported to `output` and counted, and the others go on; but what would fail for all of them (the
// service is away, the disk is full, an interrupt) ends it with that error. With JSON output, each
// restored file is one object with its place.
absl::StatusOr<RestoreSummary> Restore(Connection& connection, const std::string& client_id,
                                       RestoreFolder& folder, Output& output);

}  // namespace backup::ctl
