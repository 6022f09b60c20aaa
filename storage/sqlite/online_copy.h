#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// Copies a database while others write to it.
class OnlineCopy {
 public:
  // Pages of one step.
  static constexpr int kStepPages = 256;

  // Copies what `source` sees in one transaction to read, which begins now, into a new file at
  // `path`, with SQLite's backup. What others write meanwhile stays in the log until it is done,
  // and never makes it begin again. Calls `pause` between steps. Cancelled if `token` is told to
  // stop. The file is not synced.
  static absl::Status Run(Database& source, const std::string& path, const char* vfs,
                          const std::function<void()>& pause, const std::stop_token& token);
};

// Has SQLite look for damage in all of the database, the names of its schema included, but for
// whether indices agree with their tables. Reason STATE_CORRUPT if it finds any twice; STORAGE_IO
// if a part cannot be read, which is no damage; Cancelled soon after `token` is told to stop.
absl::Status CheckQuickly(Database& database, const std::stop_token& token);

// The same of one table after the other, each in a transaction of its own, so that the log can be
// emptied meanwhile. Calls `pause` in between. STORAGE_IO only if nothing of what could be read is
// damaged. Compares indices with their tables, too, unless the database is so large that this,
// which reads here and there, would take long.
absl::Status CheckAllTables(Database& database, const std::function<void()>& pause,
                            const std::stop_token& token);

}  // namespace backup::storage
