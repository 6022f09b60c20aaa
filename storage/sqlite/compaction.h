#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// Which pages that nothing is in are given back.
enum class Compacting { kExcess, kAll };

// Gives back pages that nothing is in, within the transaction that is open, for a few milliseconds.
// The file becomes smaller when that is copied from the log. Of a catalog that was made without
// auto_vacuum nothing can be given back, and it is done.
absl::StatusOr<Catalog::Compacted> VacuumSome(Database& database, Compacting how);

// Copies the log into the database and, unless it is small, cuts it off, outside of transactions.
// `log_path` is its file. Reason BACKEND_DOWN if it is larger than it should be and a reader
// hinders that.
absl::Status CutOffLog(Database& database, const std::string& log_path);

}  // namespace backup::storage
