#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/catalog/tables.h"

namespace backup::storage {

// The rows of a catalog in a PostgreSQL database, which stays as it is. `conninfo` as for
// CheckConninfo() (conninfo.h). FailedPrecondition if its schema is older than this program's, or
// there is none; else errors as of PostgresCatalog::Open().
absl::StatusOr<std::unique_ptr<CatalogRows>> OpenPostgresRows(const std::string& conninfo);

// A new catalog in a database without one, or with one in which nothing is but what an earlier such
// attempt left there: its store value `name` is `value` then, and all goes with the commit. All is
// one transaction. AlreadyExists if anything else is there; else errors as of
// PostgresCatalog::Open(), which makes the tables as well.
absl::StatusOr<std::unique_ptr<NewCatalogRows>> MakePostgresRows(const std::string& conninfo,
                                                                 absl::string_view name,
                                                                 absl::string_view value);

}  // namespace backup::storage
