#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/exit_code.h"
#include "services/backupctl/old_server/content_kind.h"
#include "services/backupctl/old_server/rows.h"
#include "services/backupctl/output.h"

namespace backup::ctl::old_server {

struct ImportOptions {
  std::string database;
  std::string folder;
  std::vector<std::string> owners;  // "CLIENT" or "CLIENT=PATTERN".
  ColumnNames columns;
  std::optional<ContentKind> content;  // Nothing: found out for each file.
  absl::TimeZone zone;
  bool dry_run = false;
};

// Takes the old server's clients and files over to the service, tells what became of each, and how
// the process ends by that. Changes nothing of the old server; the same again changes nothing. What
// ails one client or file leaves only that out. What would fail for all (the service is away, the
// database cannot be read) ends it with that error; what was done before stays, and the same import
// goes on.
absl::StatusOr<ExitCode> Import(Connection& connection, Output& output,
                                const ImportOptions& options);

}  // namespace backup::ctl::old_server
