#include "services/backup/migrate.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "services/backup/audit/actions.h"
#include "services/backup/audit/audit_log.h"
#include "services/backup/catalog_hold.h"
#include "services/backup/catalog_mark.h"
#include "services/backup/migration_marks.h"
#include "services/backup/migration_places.h"
#include "services/backup/restore_state.h"
#include "storage/snapshot_folder.h"

namespace backup {
namespace {

constexpr size_t kIdSize = 16;  // Before it is written in hex.
constexpr size_t kMaxKeyFileSize = 16 << 20;
constexpr char kJournalName[] = "migration.blobs";
// What may be in a new data directory: our own lock, what a file system begins with, and a mark of
// which no more was written (ReplaceFile()).
constexpr absl::string_view kNothing[] = {"lock", "lost+found", "migration.new"};

absl::StatusOr<std::string> WholePath(const std::string& path, absl::string_view option) {
  if (path.empty()) return absl::InvalidArgumentError(absl::StrCat(option, " is missing"));
  std::error_code error;
  std::string whole = std::filesystem::weakly_canonical(path, error).string();
  if (error) return absl::NotFoundError(absl::StrCat("there is no folder ", path));
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  // It is a line of a file.
  if (whole.find('\n') != std::string::npos)
    return absl::InvalidArgumentError(absl::StrCat(option, " must be one line"));
  return whole;
}

// With the name of the directory that it is about.
absl::Status About(const std::string& data_dir, const absl::Status& error) {
  if (error.ok()) return error;
  return WithMessage(error, absl::StrCat("the data directory ", data_dir, ": ", error.message()));
}

absl::Status CheckIsEmpty(const std::string& data_dir) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir, error)) {
    const std::string name = entry.path().filename().string();
    if (std::find(std::begin(kNothing), std::end(kNothing), name) != std::end(kNothing)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("it is not empty (", name, "): give another one, which need not be there"));
  }
  if (error) return absl::ErrnoToStatus(error.value(), "cannot list it");
  return absl::OkStatus();
}

// Paths in it are good in whatever folder the service starts.
BlobsOptions WithWholePaths(BlobsOptions blobs) {
  for (std::string* const path : {&blobs.credentials_file, &blobs.ca_file}) {
    std::error_code error;
    if (!path->empty()) *path = std::filesystem::absolute(*path, error).string();
  }
  return blobs;
}

// One run of it. Used by one thread at a time.
class MigrationRun {
 public:
  MigrationRun(Migration migration, absl::Time now, const MigrationListener& listener,
               MigrationReport& report)
      : migration_(std::move(migration)), now_(now), listener_(listener), report_(report) {}

  absl::Status Run();

 private:
  absl::Status CheckOptions();
  absl::Status HoldSource();
  absl::Status HoldTarget();
  // Whether all that has to be there later can be used, before anything large is done.
  absl::Status TryCatalog();
  absl::Status CheckSourceMayMove() const;
  absl::Status CopyBlobs();
  absl::Status CheckUnreadable() const;
  absl::Status CopyCatalog();
  PlaceValues Values() const;
  absl::Status BringKeys();
  // Brings what is beside the catalog, and has that say where it is and that it came.
  absl::Status Settle();
  absl::Status End();
  std::string Describe() const;

  Migration migration_;
  const absl::Time now_;
  const MigrationListener& listener_;
  MigrationReport& report_;
  UniqueFd source_lock_;
  UniqueFd target_lock_;
  std::optional<CatalogLocation> source_location_;
  BlobsOptions source_blobs_;
  MigrationMark mark_;
  std::optional<HeldDataDir> keys_;  // Of the target, with the source's keys; to finish.
  std::optional<BlobCopy> blob_copy_;
  PlacedBlobs from_blobs_;  // Before the catalogs, which they may ask.
  PlacedBlobs to_blobs_;
  absl::flat_hash_set<BlobId> staying_;  // Blobs that are there and need not be copied.
  std::unique_ptr<CatalogHold> source_hold_;
  std::unique_ptr<CatalogHold> target_hold_;
};

absl::Status MigrationRun::Run() {
  RETURN_IF_ERROR(CheckOptions());
  RETURN_IF_ERROR(HoldSource());
  RETURN_IF_ERROR(HoldTarget());
  RETURN_IF_ERROR(CopyBlobs());
  if (!migration_.finishes) return absl::OkStatus();
  RETURN_IF_ERROR(CheckUnreadable());
  RETURN_IF_ERROR(CopyCatalog());
  RETURN_IF_ERROR(BringKeys());
  RETURN_IF_ERROR(Settle());
  return End();
}

absl::Status MigrationRun::CheckOptions() {
  ASSIGN_OR_RETURN(migration_.from, WholePath(migration_.from, "--from"));
  ASSIGN_OR_RETURN(migration_.to, WholePath(migration_.to, "--to"));
  if (migration_.from == migration_.to) {
    return absl::InvalidArgumentError(
        "--to is the data directory that it comes from: give another folder, also if only catalog "
        "or blobs are to move");
  }
  RETURN_IF_ERROR(CheckCatalogOptions(migration_.catalog));
  RETURN_IF_ERROR(CheckBlobsOptions(migration_.blobs));
  migration_.blobs = WithWholePaths(migration_.blobs);
  return absl::OkStatus();
}

absl::Status MigrationRun::CheckSourceMayMove() const {
  ASSIGN_OR_RETURN(const std::optional<MigrationMark> coming, FindMigrationMark(migration_.from));
  if (coming) return About(migration_.from, CheckIsNotMigrated(migration_.from));
  ASSIGN_OR_RETURN(const std::optional<MovedMark> moved, FindMovedMark(migration_.from));
  if (!moved) return absl::OkStatus();
  // It may have ended before it could say that the other place is whole.
  ASSIGN_OR_RETURN(const std::optional<MigrationMark> mark, FindMigrationMark(migration_.to));
  if (mark && mark->id == moved->id && migration_.finishes) return absl::OkStatus();
  return About(migration_.from, CheckIsNotMigrated(migration_.from));
}

absl::Status MigrationRun::HoldSource() {
  const std::string& from = migration_.from;
  std::error_code error;
  if (!std::filesystem::is_directory(from, error))
    return absl::NotFoundError(absl::StrCat("there is no folder ", from));
  RETURN_IF_ERROR(CheckOwner(from));
  ASSIGN_OR_RETURN(source_location_, FindCatalogLocation(from));
  ASSIGN_OR_RETURN(source_blobs_, FindBlobsLocation(from));
  if (!source_location_ && !std::filesystem::exists(absl::StrCat(from, "/", kCatalogName), error))
    return absl::NotFoundError(absl::StrCat("there is no catalog in ", from));
  RETURN_IF_ERROR(CheckSourceMayMove());
  if (!migration_.catalog.conninfo.empty() && source_location_ &&
      source_location_->conninfo == migration_.catalog.conninfo)
    return absl::InvalidArgumentError("--to has the database that the catalog is in already");
  if (!migration_.finishes) return absl::OkStatus();
  absl::StatusOr<UniqueFd> lock = LockDataDir(from);
  if (!lock.ok()) return About(from, lock.status());
  source_lock_ = *std::move(lock);
  keys_.emplace();
  ASSIGN_OR_RETURN(keys_->master_keys, OpenMasterKeys(from, migration_.keys));
  return absl::OkStatus();
}

absl::Status MigrationRun::HoldTarget() {
  const std::string& to = migration_.to;
  RETURN_IF_ERROR(About(to, MakeDataDir(to)));
  absl::StatusOr<UniqueFd> lock = LockDataDir(to);
  if (!lock.ok()) return About(to, lock.status());
  target_lock_ = *std::move(lock);
  ASSIGN_OR_RETURN(const std::optional<MigrationMark> known, FindMigrationMark(to));
  mark_ = {known ? known->id : absl::BytesToHexString(crypto::RandomBytes(kIdSize)),
           migration_.from, migration_.catalog.conninfo, migration_.blobs.url};
  if (known && *known != mark_) {
    return About(to, absl::FailedPreconditionError(absl::StrCat(
                         "a migration from ", known->from,
                         " with another --to is not finished: give the same again, or empty it")));
  }
  if (!known) RETURN_IF_ERROR(About(to, CheckIsEmpty(to)));
  RETURN_IF_ERROR(TryCatalog());
  return known ? absl::OkStatus() : WriteMigrationMark(to, mark_);
}

absl::Status MigrationRun::TryCatalog() {
  if (migration_.catalog.conninfo.empty()) return absl::OkStatus();
  return OpenCatalogToFill(migration_.to, migration_.catalog, mark_.id).status();
}

absl::Status MigrationRun::CopyBlobs() {
  ASSIGN_OR_RETURN(from_blobs_, OpenBlobsToRead(migration_.from, source_blobs_));
  report_.blobs_stay = !source_blobs_.url.empty() && source_blobs_.url == migration_.blobs.url;
  if (report_.blobs_stay) {
    return from_blobs_.store->List([&](const storage::BlobInfo& blob) {
      staying_.insert(blob.id);
      ++report_.blobs.blobs;
      report_.blobs.bytes += blob.size_bytes;
      return absl::OkStatus();
    });
  }
  ASSIGN_OR_RETURN(to_blobs_, OpenBlobsToFill(migration_.to, migration_.blobs, mark_.id));
  blob_copy_.emplace(*from_blobs_.store, *to_blobs_.store,
                     absl::StrCat(migration_.to, "/", kJournalName), listener_);
  ASSIGN_OR_RETURN(report_.blobs, migration_.finishes ? blob_copy_->Finish() : blob_copy_->Run());
  return absl::OkStatus();
}

absl::Status MigrationRun::CheckUnreadable() const {
  if (report_.blobs.unreadable_count == 0 || migration_.gives_up_unreadable)
    return absl::OkStatus();
  return WithExitCode(
      absl::DataLossError(absl::StrCat(
          report_.blobs.unreadable_count,
          " blobs cannot be read at the source: mend that, or give --give-up-unreadable to leave "
          "them behind")),
      kExitDamaged);
}

PlaceValues MigrationRun::Values() const {
  PlaceValues values;
  values.left_out = {kCatalogIdValue, kCatalogHolderValue, kMigrationValue};
  values.given = {{kMigrationValue, mark_.id}};
  if (!migration_.catalog.conninfo.empty()) values.given.emplace_back(kCatalogIdValue, mark_.id);
  if (report_.blobs_stay) return values;
  // Snapshots of before tell where blobs were.
  values.left_out.emplace_back(storage::SnapshotFolder::kStoreValue);
  for (const std::string& name : InstallationValueNames()) values.left_out.push_back(name);
  if (migration_.blobs.url.empty()) return values;
  for (auto& value : InstallationValues(migration_.blobs, mark_.id))
    values.given.push_back(std::move(value));
  return values;
}

// Whether the catalog's blobs are where its data directory says, which were copied.
absl::Status CheckBlobsAreThere(storage::CatalogRows& rows, const std::string& data_dir,
                                const BlobsOptions& blobs) {
  ASSIGN_OR_RETURN(const std::string url, BlobsUrlOf(rows));
  if (url == blobs.url) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("its catalog says that its blobs are in ",
                   url.empty() ? "its own folder" : absl::string_view(url), ", and ", data_dir, "/",
                   kBlobsLocationName, " does not: start the service once"));
}

absl::Status MigrationRun::CopyCatalog() {
  ASSIGN_OR_RETURN(PlacedRows<storage::CatalogRows> source, OpenCatalogToRead(migration_.from));
  source_hold_ = std::move(source.hold);
  RETURN_IF_ERROR(
      About(migration_.from, CheckBlobsAreThere(*source.rows, migration_.from, source_blobs_)));
  ASSIGN_OR_RETURN(PlacedRows<storage::NewCatalogRows> target,
                   OpenCatalogToFill(migration_.to, migration_.catalog, mark_.id));
  target_hold_ = std::move(target.hold);
  const auto has_blob = [&](const BlobId& id) {
    return report_.blobs_stay ? staying_.contains(id) : blob_copy_->Has(id);
  };
  ASSIGN_OR_RETURN(report_.rows,
                   CopyRows(*source.rows, *target.rows, Values(), has_blob, listener_));
  RETURN_IF_ERROR(target.rows->Commit());
  target.rows.reset();
  return PlaceCatalog(migration_.to, migration_.catalog);
}

// A copy of a small file, if there is one.
absl::StatusOr<bool> CopySmallFile(const std::string& from, const std::string& to) {
  const std::optional<std::string> text = ReadSmallFile(from, kMaxKeyFileSize);
  if (!text && errno == ENOENT) return false;
  if (!text) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", from));
  if (ReplaceFile(to, *text)) return true;
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", to));
}

absl::Status MigrationRun::BringKeys() {
  const std::string& from = migration_.from;
  const std::string& to = migration_.to;
  keys_->path = to;
  keys_->generations_file = GenerationsFileOf(to, migration_.keys);
  if (migration_.keys.master_key_file.empty() && migration_.keys.command.empty()) {
    ASSIGN_OR_RETURN(report_.brought_key, CopySmallFile(absl::StrCat(from, "/", kMasterKeyName),
                                                        absl::StrCat(to, "/", kMasterKeyName)));
  }
  // Those that are elsewhere serve both.
  const std::string generations = GenerationsFileOf(from, migration_.keys);
  if (generations == keys_->generations_file) return absl::OkStatus();
  RETURN_IF_ERROR(CopySmallFile(generations, keys_->generations_file).status());
  return CopySmallFile(audit::HeadPath(generations), audit::HeadPath(keys_->generations_file))
      .status();
}

absl::Status MigrationRun::Settle() {
  const std::string& to = migration_.to;
  if (!migration_.blobs.url.empty()) {
    RETURN_IF_ERROR(WriteBlobsLocation(to, report_.blobs_stay ? source_blobs_ : migration_.blobs));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<storage::Catalog> catalog,
                   OpenFilledCatalog(to, migration_.catalog));
  if (!migration_.catalog.conninfo.empty())
    RETURN_IF_ERROR(JoinCatalog(to, migration_.catalog.conninfo, *catalog));
  TellAudit(*keys_, *catalog, audit::kStateMigrated, absl::StrCat("from ", migration_.from), now_);
  return WriteCatalogMark(to, *catalog);
}

std::string MigrationRun::Describe() const {
  std::string text = migration_.to;
  if (!migration_.catalog.conninfo.empty())
    absl::StrAppend(&text, ", its catalog to ", DescribeCatalog(migration_.catalog.conninfo));
  if (!migration_.blobs.url.empty())
    absl::StrAppend(&text, ", its blobs to ", migration_.blobs.url);
  return text;
}

absl::Status MigrationRun::End() {
  report_.to = Describe();
  std::error_code error;
  report_.has_snapshots =
      !std::filesystem::is_empty(absl::StrCat(migration_.from, "/", kSnapshotFolderName), error) &&
      !error;
  if (blob_copy_) RETURN_IF_ERROR(blob_copy_->RemoveJournal());
  // In between neither of both starts, and the same command goes on.
  RETURN_IF_ERROR(WriteMovedMark(migration_.from, {mark_.id, report_.to}));
  return RemoveMigrationMark(migration_.to);
}

}  // namespace

absl::Status Migrate(const Migration& migration, absl::Time now, const MigrationListener& listener,
                     MigrationReport& report) {
  return MigrationRun(migration, now, listener, report).Run();
}

absl::StatusOr<std::string> UndoMigration(const std::string& from) {
  ASSIGN_OR_RETURN(const std::string path, WholePath(from, "--from"));
  RETURN_IF_ERROR(CheckOwner(path));
  absl::StatusOr<UniqueFd> lock = LockDataDir(path);
  if (!lock.ok()) return About(path, lock.status());
  ASSIGN_OR_RETURN(const std::optional<MovedMark> moved, FindMovedMark(path));
  if (!moved) {
    return About(path, absl::FailedPreconditionError(
                           "it was not migrated to anywhere: there is nothing to undo"));
  }
  RETURN_IF_ERROR(RemoveMovedMark(path));
  return moved->to;
}

}  // namespace backup
