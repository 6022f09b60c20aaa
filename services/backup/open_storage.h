#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/metrics.h"
#include "base/unique_fd.h"
#include "crypto/key_generations.h"
#include "services/backup/blobs_location.h"
#include "services/backup/catalog_hold.h"
#include "services/backup/catalog_location.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/space_reserve.h"
#include "storage/storage_metrics.h"

namespace backup {

// Where the master key comes from (docs/operations.md); at most one of the first three.
struct KeySources {
  std::string master_key_file;  // All three empty: DATA_DIR/master.key.
  std::string credential;       // A name that systemd knows.
  std::vector<std::string> command;
  std::vector<std::string> old_master_key_files;
  std::string generations_file;  // Empty: DATA_DIR/key.generations.
};

// The program and the arguments that a text has, which is split at white space.
std::vector<std::string> CommandWords(absl::string_view text);
// The master keys of data that is there; a file that is not named is that in `data_dir`. NotFound
// if a file is not there; FailedPrecondition if it holds no key, or the command does not say one.
absl::StatusOr<crypto::MasterKeys> OpenMasterKeys(const std::string& data_dir,
                                                  const KeySources& sources);
// Where the file of generations is.
std::string GenerationsFileOf(const std::string& data_dir, const KeySources& sources);

// All state of one service: what is below a data directory, held by this process alone.
struct Storage {
  UniqueFd lock;  // First: released last.
  crypto::MasterKeys master_keys;
  std::string generations_file;
  std::unique_ptr<storage::SpaceReserve> reserve;
  std::unique_ptr<CatalogHold> catalog_hold;  // Of one that is elsewhere; else null.
  std::unique_ptr<storage::Catalog> catalog;
  std::string catalog_place;  // Of one that is elsewhere, for people; else empty.
  std::unique_ptr<storage::BlobStore> blobs;
  // Of blobs in an object store: to be claimed before anything is stored or deleted there.
  std::unique_ptr<RemoteBlobs> remote;
};

// Opens DATA_DIR (made with mode 0700 if it is not there; what is open to other users is closed to
// them, which the log tells): lock, master keys (in a file that is not there one is made, but only
// if there is neither a catalog nor a file of key generations yet), reserve/, catalog.db or a
// catalog in PostgreSQL, store/, or blobs in an object store, which are not claimed yet
// (ClaimBlobs()). On a full disk what is reserved is given up as far as that needs it. If it fails,
// the error met, in one line that names the directory; with an exit code of its own
// (base/exit_code.h) if another process holds it, it is of a newer schema, or it is damaged. This,
// blobs_location.h and catalog_location.h are the only places that name implementations of Catalog
// and BlobStore.
absl::StatusOr<Storage> OpenStorage(const std::string& data_dir, const KeySources& keys,
                                    const storage::StorageMetrics& metrics = {},
                                    const CatalogOptions& catalog = {},
                                    const BlobsOptions& blobs = {},
                                    RemoteBlobs::Access access = RemoteBlobs::Access::kWrite);

// Makes blobs in an object store those of this catalog (RemoteBlobs::Claim()), once all else fits.
// Nothing for others.
absl::Status ClaimBlobs(const std::string& data_dir, Storage& storage);

// Where these are, below a data directory.
inline constexpr char kCatalogName[] = "catalog.db";
inline constexpr char kMasterKeyName[] = "master.key";
inline constexpr char kKeyGenerationsFile[] = "key.generations";
inline constexpr char kSnapshotFolderName[] = "store/snapshots";

// Makes a data directory, with its parents, for its owner only, unless it is there and can be used.
absl::Status MakeDataDir(const std::string& path);
// Holds a data directory that is there, as OpenStorage() does.
absl::StatusOr<UniqueFd> LockDataDir(const std::string& path);

// Opens the file of a catalog alone, which must be there; it is migrated if it is older. Errors:
// NotFound; Unimplemented if it is newer; reason STATE_CORRUPT.
absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenCatalogFile(const std::string& path);

// What the file of a catalog has under this name (Snapshot::FindStoreValue), of whatever schema it
// is; the file is left as it is, and may be damaged.
absl::StatusOr<std::optional<std::string>> FindStoreValueIn(const std::string& catalog_path,
                                                            const std::string& name);

// What is in a data directory itself, wherever the blobs of its catalog are.
absl::StatusOr<std::unique_ptr<storage::BlobStore>> OpenBlobs(const std::string& data_dir);

// The blobs of a data directory alone, to make this catalog, which is in nobody's use yet, anew of
// it; an object store is only read, and becomes the catalog's (RemoteBlobs::Adopt()).
absl::StatusOr<std::unique_ptr<storage::BlobStore>> OpenBlobs(const std::string& data_dir,
                                                              const BlobsOptions& blobs,
                                                              storage::Catalog& catalog);

// A catalog that is elsewhere, which nobody else uses.
struct HeldCatalog {
  std::unique_ptr<CatalogHold> hold;
  std::unique_ptr<storage::Catalog> catalog;
};

// `error` of a catalog in PostgreSQL as one that names where that is, with the exit code that it
// has.
absl::Status OfPostgres(const std::string& conninfo, const absl::Status& error);

// Opens it for whoever holds the data directory that says where it is. Errors as of OpenStorage(),
// without the directory's name.
absl::StatusOr<HeldCatalog> OpenCatalogAt(const CatalogLocation& location);

// The version of the library of the catalog in a file, for backup_build_info.
Labels CatalogLibraryVersion();

}  // namespace backup
