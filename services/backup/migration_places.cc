#include "services/backup/migration_places.h"

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/file_system.h"
#include "base/status_macros.h"
#include "services/backup/open_storage.h"
#include "storage/local/local_blob_store.h"
#include "storage/postgres/postgres_catalog.h"
#include "storage/postgres/table_rows.h"
#include "storage/sqlite/table_rows.h"

namespace backup {
namespace {

std::string CatalogPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/", kCatalogName);
}
std::string NewCatalogPath(const std::string& data_dir) {
  return absl::StrCat(CatalogPath(data_dir), ".new");
}

// `error` of a catalog in a file, with the exit code that it has.
absl::Status OfFile(const std::string& path, const absl::Status& error) {
  const absl::Status named = WithMessage(error, absl::StrCat(path, ": ", error.message()));
  if (absl::IsUnimplemented(named)) return WithExitCode(named, kExitNewerSchema);
  return ReasonOf(named) == Reason::kStateCorrupt ? WithExitCode(named, kExitDamaged) : named;
}

absl::StatusOr<std::unique_ptr<CatalogHold>> TakeHold(const std::string& conninfo) {
  absl::StatusOr<std::unique_ptr<CatalogHold>> hold = CatalogHold::Take(conninfo);
  if (!hold.ok()) return OfPostgres(conninfo, hold.status());
  return hold;
}

// What an earlier attempt left.
absl::Status RemoveCatalogFiles(const std::string& path) {
  for (const char* const end : {"", "-journal", "-wal", "-shm"}) {
    const std::string file = absl::StrCat(path, end);
    if (!FileSystem::Real().Remove(file) && errno != ENOENT)
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot remove ", file));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PlacedBlobs> OpenBlobsToRead(const std::string& data_dir,
                                            const BlobsOptions& blobs) {
  PlacedBlobs placed;
  if (blobs.url.empty()) {
    placed.store = storage::LocalBlobStore::OpenToRead(absl::StrCat(data_dir, "/store"));
    return placed;
  }
  ASSIGN_OR_RETURN(placed.remote, RemoteBlobs::Open(blobs, RemoteBlobs::Access::kRead));
  placed.store = placed.remote->Release();
  return placed;
}

absl::StatusOr<PlacedBlobs> OpenBlobsToFill(const std::string& data_dir, const BlobsOptions& blobs,
                                            const std::string& migration_id) {
  PlacedBlobs placed;
  if (blobs.url.empty()) {
    ASSIGN_OR_RETURN(placed.store, OpenBlobs(data_dir));
    return placed;
  }
  ASSIGN_OR_RETURN(placed.remote, RemoteBlobs::Open(blobs, RemoteBlobs::Access::kWrite));
  RETURN_IF_ERROR(placed.remote->Prepare(migration_id));
  placed.store = placed.remote->Release();
  return placed;
}

absl::StatusOr<PlacedRows<storage::CatalogRows>> OpenCatalogToRead(const std::string& data_dir) {
  PlacedRows<storage::CatalogRows> placed;
  ASSIGN_OR_RETURN(const std::optional<CatalogLocation> elsewhere, FindCatalogLocation(data_dir));
  if (!elsewhere) {
    const std::string path = CatalogPath(data_dir);
    if (!FileSystem::Real().Open(path, /*flags=*/0))
      return absl::NotFoundError(absl::StrCat("there is no catalog ", path));
    absl::StatusOr<std::unique_ptr<storage::CatalogRows>> rows = storage::OpenSqliteRows(path);
    if (!rows.ok()) return OfFile(path, rows.status());
    placed.rows = *std::move(rows);
    return placed;
  }
  ASSIGN_OR_RETURN(placed.hold, TakeHold(elsewhere->conninfo));
  absl::StatusOr<std::unique_ptr<storage::CatalogRows>> rows =
      storage::OpenPostgresRows(elsewhere->conninfo);
  if (!rows.ok()) return OfPostgres(elsewhere->conninfo, rows.status());
  placed.rows = *std::move(rows);
  return placed;
}

absl::StatusOr<PlacedRows<storage::NewCatalogRows>> OpenCatalogToFill(
    const std::string& data_dir, const CatalogOptions& catalog, const std::string& migration_id) {
  PlacedRows<storage::NewCatalogRows> placed;
  if (catalog.conninfo.empty()) {
    const std::string path = NewCatalogPath(data_dir);
    RETURN_IF_ERROR(RemoveCatalogFiles(path));
    absl::StatusOr<std::unique_ptr<storage::NewCatalogRows>> rows = storage::MakeSqliteRows(path);
    if (!rows.ok()) return OfFile(path, rows.status());
    placed.rows = *std::move(rows);
    return placed;
  }
  ASSIGN_OR_RETURN(placed.hold, TakeHold(catalog.conninfo));
  absl::StatusOr<std::unique_ptr<storage::NewCatalogRows>> rows =
      storage::MakePostgresRows(catalog.conninfo, kMigrationValue, migration_id);
  if (absl::IsAlreadyExists(rows.status())) {
    return OfPostgres(catalog.conninfo,
                      absl::FailedPreconditionError("it is not empty: give another database"));
  }
  if (!rows.ok()) return OfPostgres(catalog.conninfo, rows.status());
  placed.rows = *std::move(rows);
  return placed;
}

absl::Status PlaceCatalog(const std::string& data_dir, const CatalogOptions& catalog) {
  if (!catalog.conninfo.empty()) return absl::OkStatus();
  FileSystem& files = FileSystem::Real();
  // That of an earlier attempt, and what it may have in a log.
  RETURN_IF_ERROR(RemoveCatalogFiles(CatalogPath(data_dir)));
  if (files.Rename(NewCatalogPath(data_dir), CatalogPath(data_dir)) && files.SyncFolder(data_dir))
    return absl::OkStatus();
  return absl::ErrnoToStatus(errno,
                             absl::StrCat("cannot put ", CatalogPath(data_dir), " in place"));
}

absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenFilledCatalog(const std::string& data_dir,
                                                                    const CatalogOptions& catalog) {
  if (catalog.conninfo.empty()) return OpenCatalogFile(CatalogPath(data_dir));
  absl::StatusOr<std::unique_ptr<storage::Catalog>> opened =
      storage::PostgresCatalog::Open(catalog.conninfo, {}, {});
  if (!opened.ok()) return OfPostgres(catalog.conninfo, opened.status());
  return opened;
}

}  // namespace backup
