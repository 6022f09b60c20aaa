#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "storage/catalog/tables.h"

namespace backup::storage {

// The rows of a catalog in an SQLite file that no service uses, which stays as it is.
// FailedPrecondition if its schema is older than this program's; Unimplemented if it is newer.
absl::StatusOr<std::unique_ptr<CatalogRows>> OpenSqliteRows(const std::string& path);

// A new catalog in a file that is not there yet. What a process that dies leaves there is to be
// removed by whoever begins anew.
absl::StatusOr<std::unique_ptr<NewCatalogRows>> MakeSqliteRows(const std::string& path);

}  // namespace backup::storage
