#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// Brings the catalog to the newest schema: each numbered migration is one transaction, and PRAGMA
// user_version tells which was the last. Unimplemented if the catalog is of a newer schema
// than this program knows.
absl::Status Migrate(Database& database);

// As if `newest` were the newest schema: for tests of later migrations.
absl::Status MigrateTo(Database& database, int64_t newest);

// Of one that is only read: FailedPrecondition if it is of an older schema; Unimplemented if of a
// newer one.
absl::Status CheckIsNewest(Database& database);

// Whether a migrated catalog has all tables, columns, indices and triggers by their names: what
// says so in the file may be damaged as anything else, and SQLite's own checks take it as it is.
// Reason STATE_CORRUPT, with the first that is missing.
absl::Status CheckSchema(Database& database);

}  // namespace backup::storage
