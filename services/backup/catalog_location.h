#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"

// Where a service's catalog is, if not in its data directory, and which one it is. The place is
// written down in DATA_DIR/catalog.location, beside the id that the catalog itself has: a data
// directory, and the blobs in it, are of one catalog for ever (docs/storage.md).
namespace backup {

// What was asked for.
struct CatalogOptions {
  // How libpq is to connect to PostgreSQL, without a password. Empty: where it is already, else in
  // a file of the data directory.
  std::string conninfo;
  bool rebuild = false;  // Of one in a file: SqliteCatalog::Options.
};

// InvalidArgument, in one line that shows nothing of it, for what cannot be meant, and for a
// password, which whoever lists processes or reads a configuration would see.
absl::Status CheckCatalogOptions(const CatalogOptions& options);

inline constexpr char kCatalogLocationName[] = "catalog.location";

// What a data directory says of a catalog that is elsewhere.
struct CatalogLocation {
  std::string conninfo;
  std::string id;  // The catalog's: 32 hex digits.

  bool operator==(const CatalogLocation&) const = default;
};

// Nothing if the directory says nothing; FailedPrecondition if that cannot be told.
absl::StatusOr<std::optional<CatalogLocation>> FindCatalogLocation(const std::string& data_dir);

// For what works on the file of a catalog: FailedPrecondition, saying what to do instead, if the
// directory says that its catalog is elsewhere.
absl::Status CheckCatalogIsHere(const std::string& data_dir);

// The name of the store value that is the id of a catalog elsewhere.
inline constexpr char kCatalogIdValue[] = "catalog.id";

// Hosts and database of `conninfo`, for people.
std::string DescribeCatalog(const std::string& conninfo);

// The id that a catalog elsewhere has; nothing if no service has begun to use it.
absl::StatusOr<std::optional<std::string>> FindCatalogId(storage::Catalog& catalog);

// FailedPrecondition, saying what to do, unless the directory is this catalog's, or nobody's and
// the catalog has no blobs in another one. `said`: what the directory says; `has_data`: it has
// blobs, or snapshots of a catalog in a file.
absl::Status CheckIsOfCatalog(const std::optional<CatalogLocation>& said, bool has_data,
                              storage::Catalog& catalog);

// Makes the directory that of this catalog, at `conninfo`, durably.
absl::Status JoinCatalog(const std::string& data_dir, const std::string& conninfo,
                         storage::Catalog& catalog);

}  // namespace backup
