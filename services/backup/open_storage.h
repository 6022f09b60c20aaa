#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "crypto/master_key.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/space_reserve.h"
#include "storage/storage_metrics.h"

namespace backup {

// All state of one service: what is below a data directory, held by this process alone.
struct Storage {
  UniqueFd lock;  // First: released last.
  std::unique_ptr<crypto::MasterKey> master_key;
  std::unique_ptr<storage::SpaceReserve> reserve;
  std::unique_ptr<storage::Catalog> catalog;
  std::unique_ptr<storage::BlobStore> blobs;
};

// Opens DATA_DIR (made with mode 0700 if it is not there; what is open to other users is closed to
// them, which the log tells): lock, master key (an empty path means DATA_DIR/master.key, and it is
// made only if there is no catalog yet), reserve/, catalog.db, store/. On a full disk what is
// reserved is given up as far as that needs it. `rebuild_catalog`: SqliteCatalog::Options. If it
// fails, the error met, in one line that names the directory; with an exit code of its own
// (base/exit_code.h) if another process holds it, it is of a newer schema, or it is damaged. This
// is the only place that names implementations of Catalog and BlobStore.
absl::StatusOr<Storage> OpenStorage(const std::string& data_dir, const std::string& master_key_file,
                                    const storage::StorageMetrics& metrics = {},
                                    bool rebuild_catalog = false);

// Where these are, below a data directory.
inline constexpr char kCatalogName[] = "catalog.db";
inline constexpr char kSnapshotFolderName[] = "store/snapshots";

// Holds a data directory that is there, as OpenStorage() does.
absl::StatusOr<UniqueFd> LockDataDir(const std::string& path);

// Opens the file of a catalog alone, which must be there; it is migrated if it is older. Errors:
// NotFound; Unimplemented if it is newer; reason STATE_CORRUPT.
absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenCatalogFile(const std::string& path);

// The store of a data directory alone.
absl::StatusOr<std::unique_ptr<storage::BlobStore>> OpenBlobs(const std::string& data_dir);

// The version of the catalog's database library, for backup_build_info.
Labels CatalogLibraryVersion();

}  // namespace backup
