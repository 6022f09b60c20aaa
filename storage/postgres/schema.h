#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "storage/postgres/connection.h"

namespace backup::storage::postgres {

// Brings the catalog in the connection's schema (the first of its search_path) to the newest one.
// All missing migrations are one transaction under an advisory lock, for which other services wait.
// Unimplemented if the catalog is of a newer schema than this program knows; FailedPrecondition if
// the role may not do it.
absl::Status Migrate(Connection& connection);

// Of one that is only read: FailedPrecondition if there is none, or of an older schema;
// Unimplemented if of a newer one.
absl::Status CheckIsNewest(Connection& connection);

// As if `newest` were the newest schema: for tests.
absl::Status MigrateTo(Connection& connection, int64_t newest);

// The newest schema that this program knows.
int64_t NewestSchema();

}  // namespace backup::storage::postgres
