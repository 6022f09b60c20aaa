#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/backup/blobs_location.h"
#include "services/backup/catalog_hold.h"
#include "services/backup/catalog_location.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/tables.h"

// Both ends of a migration: each part of an installation as what only reads it, or fills it, takes
// it.
namespace backup {

// Blobs, wherever they are.
struct PlacedBlobs {
  std::unique_ptr<RemoteBlobs> remote;  // Null: in the data directory.
  std::unique_ptr<storage::BlobStore> store;
};

// Those of a data directory, whose service may run: nothing of them is changed.
absl::StatusOr<PlacedBlobs> OpenBlobsToRead(const std::string& data_dir, const BlobsOptions& blobs);
// Those that an installation is to have: in an object store of nobody's, or of this migration's
// (RemoteBlobs::Prepare()), or in a data directory that has none but those.
absl::StatusOr<PlacedBlobs> OpenBlobsToFill(const std::string& data_dir, const BlobsOptions& blobs,
                                            const std::string& migration_id);

// A catalog that no service uses, as rows.
template <typename Rows>
struct PlacedRows {
  std::unique_ptr<CatalogHold> hold;  // Null: in a file of the data directory.
  std::unique_ptr<Rows> rows;
};

// Errors name where it is, with exit codes as of OpenStorage(). NotFound if there is none;
// FailedPrecondition if it is of an older schema.
absl::StatusOr<PlacedRows<storage::CatalogRows>> OpenCatalogToRead(const std::string& data_dir);
// In a file beside its place, or in a database in which nothing else is: FailedPrecondition.
absl::StatusOr<PlacedRows<storage::NewCatalogRows>> OpenCatalogToFill(
    const std::string& data_dir, const CatalogOptions& catalog, const std::string& migration_id);
// Puts the file in its place, once it is committed. Nothing for one that is elsewhere.
absl::Status PlaceCatalog(const std::string& data_dir, const CatalogOptions& catalog);
// The catalog that was filled, for whoever has its hold still.
absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenFilledCatalog(const std::string& data_dir,
                                                                    const CatalogOptions& catalog);

// The store value that says of which migration a catalog came.
inline constexpr char kMigrationValue[] = "migration";

}  // namespace backup
