#include "services/backup/open_storage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/command_output.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/migration_marks.h"
#include "storage/local/local_blob_store.h"
#include "storage/postgres/postgres_catalog.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/sqlite_catalog.h"

namespace backup {
namespace {

// A vault on the network answers within it, or a start has failed.
constexpr absl::Duration kKeyCommandDeadline = absl::Seconds(30);
constexpr size_t kMaxKeyText = 256;

absl::Status CloseToOthers(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return absl::OkStatus();
  const mode_t mode = info.st_mode & 07777;
  if ((mode & (S_IRWXG | S_IRWXO)) == 0) return absl::OkStatus();
  if (::chmod(path.c_str(), mode & S_IRWXU) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrFormat("%s is open to other users (mode %04o), which cannot be changed: "
                               "make it this user's own",
                               path, mode));
  }
  LOG(WARNING) << path << absl::StrFormat(" was open to other users (mode %04o)", mode)
               << ": from now on it is its owner's alone";
  return absl::OkStatus();
}

// It and what is in it, which somebody else may have made, or an earlier version.
absl::Status CloseDataDirToOthers(const std::string& path) {
  RETURN_IF_ERROR(CloseToOthers(path));
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_symlink(error)) continue;
    // What another user has put there stays theirs; nobody else comes this far any more.
    const absl::Status closed = CloseToOthers(entry->path());
    LOG_IF(WARNING, !closed.ok()) << closed.message();
  }
  return absl::OkStatus();
}

constexpr char kBlobs[] = "store/blobs";
constexpr char kSnapshots[] = "store/snapshots";

// Whether a store has anything in these folders to lose.
bool HasBlobs(const std::string& path, std::initializer_list<const char*> folders) {
  std::error_code error;
  for (const char* const folder : folders) {
    std::filesystem::recursive_directory_iterator entry(absl::StrCat(path, "/", folder), error),
        end;
    for (; !error && entry != end; entry.increment(error)) {
      if (entry->is_regular_file(error)) return true;
    }
  }
  return false;
}

// A catalog is only made together with the store: beside blobs it would know nothing of, an empty
// one would say that all is well.
absl::Status CheckCatalogIsThere(const std::string& path, const std::string& catalog_path,
                                 bool has_remote_blobs) {
  std::error_code error;
  const auto size = std::filesystem::file_size(catalog_path, error);
  const bool is_missing = static_cast<bool>(error);
  if ((!is_missing && size > 0) || (!has_remote_blobs && !HasBlobs(path, {kBlobs, kSnapshots})))
    return absl::OkStatus();
  return WithExitCode(
      MakeError(
          Reason::kStateCorrupt,
          absl::StrCat(kCatalogName, is_missing ? " is missing" : " is empty",
                       " though there is a store: run `backupctl state rebuild`, or `backupctl "
                       "state restore`"),
          "catalog"),
      kExitDamaged);
}

}  // namespace

absl::Status OfPostgres(const std::string& conninfo, const absl::Status& error) {
  const absl::Status named =
      WithMessage(error, absl::StrCat("the catalog in PostgreSQL (", DescribeCatalog(conninfo),
                                      "): ", error.message()));
  if (absl::IsAborted(named)) return WithExitCode(named, kExitInUse);
  if (absl::IsUnimplemented(named)) return WithExitCode(named, kExitNewerSchema);
  return ReasonOf(named) == Reason::kStateCorrupt ? WithExitCode(named, kExitDamaged) : named;
}

absl::Status MakeDataDir(const std::string& path) {
  std::error_code ignored;  // mkdir() tells.
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  // The dot makes it an error if it is there and no folder.
  const bool made = ::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST;
  if (made && ::faccessat(AT_FDCWD, (path + "/.").c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0)
    return absl::OkStatus();
  return absl::ErrnoToStatus(
      errno, "it cannot be used: correct its owner and mode, or give another --data_dir");
}

absl::StatusOr<UniqueFd> LockDataDir(const std::string& path) {
  const std::string lock_path = absl::StrCat(path, "/lock");
  UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot open ", lock_path, errno == ENOSPC ? ": free disk space" : ""));
  }
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return WithExitCode(absl::AbortedError("another process holds it: stop that first, or give "
                                           "another --data_dir"),
                        kExitInUse);
  }
  return lock;
}

namespace {

absl::StatusOr<std::unique_ptr<crypto::MasterKey>> KeyOfCommand(
    const std::vector<std::string>& command) {
  absl::StatusOr<std::string> text = CommandOutput(command, kKeyCommandDeadline, kMaxKeyText);
  if (!text.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("--master_key_command: ", text.status().message()));
  }
  return crypto::MasterKey::Parse(
      *std::move(text), absl::StrCat("what --master_key_command=", command.front(), " says"));
}

// A key is only made together with the data: to data that is there, a new one would be of no use.
absl::StatusOr<std::unique_ptr<crypto::MasterKey>> KeyOfFile(const std::string& path,
                                                             bool has_data) {
  if (!has_data) return crypto::MasterKey::LoadOrCreate(path);
  auto key = crypto::MasterKey::Load(path);
  if (!absl::IsNotFound(key.status())) return key;
  return WithMessage(key.status(), absl::StrCat(key.status().message(),
                                                ": restore it, the data is encrypted with it"));
}

absl::StatusOr<crypto::MasterKeys> LoadOrMakeMasterKeys(const std::string& data_dir,
                                                        const KeySources& sources, bool has_data) {
  if (!sources.command.empty() && !sources.master_key_file.empty()) {
    return absl::InvalidArgumentError(
        "give only one of --master_key_file and --master_key_command");
  }
  crypto::MasterKeys keys;
  if (!sources.command.empty()) {
    keys.origin = absl::StrCat("that of --master_key_command=", sources.command.front());
    ASSIGN_OR_RETURN(keys.current, KeyOfCommand(sources.command));
  } else if (!sources.credential.empty()) {
    keys.origin = absl::StrCat("the credential ", sources.credential);
    ASSIGN_OR_RETURN(keys.current, crypto::MasterKey::LoadCredential(sources.credential));
  } else {
    const std::string path = sources.master_key_file.empty()
                                 ? absl::StrCat(data_dir, "/", kMasterKeyName)
                                 : sources.master_key_file;
    keys.origin = absl::StrCat("the one in ", path);
    ASSIGN_OR_RETURN(keys.current, KeyOfFile(path, has_data));
  }
  for (const std::string& path : sources.old_master_key_files) {
    ASSIGN_OR_RETURN(keys.old.emplace_back(), crypto::MasterKey::Load(path));
  }
  return keys;
}

absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenCatalog(
    const std::string& path, const storage::StorageMetrics& metrics, storage::SpaceReserve& reserve,
    std::shared_ptr<BulkThrottle> throttle, bool rebuild) {
  absl::StatusOr<std::unique_ptr<storage::Catalog>> catalog = storage::SqliteCatalog::Open(
      path, metrics, {/*vfs=*/nullptr, &reserve, std::move(throttle), rebuild});
  if (absl::IsUnimplemented(catalog.status()))
    return WithExitCode(catalog.status(), kExitNewerSchema);
  if (!catalog.ok() && ReasonOf(catalog.status()) == Reason::kStateCorrupt)
    return WithExitCode(catalog.status(), kExitDamaged);
  return catalog;
}

// An error if nobody can tell: then nothing may be made anew.
absl::StatusOr<bool> IsThere(const std::string& path) {
  std::error_code error;
  const bool is_there = std::filesystem::exists(path, error);
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot look at ", path));
  return is_there;
}

// What OpenStorage() was given.
struct Wanted {
  const KeySources& keys;
  const storage::StorageMetrics& metrics;
  const CatalogOptions& catalog;
  const BlobsOptions& blobs;
  const RemoteBlobs::Access access;
};

// Keys and a catalog in a file of the data directory.
absl::Status OpenCatalogHere(const std::string& path, const Wanted& wanted,
                             std::shared_ptr<BulkThrottle> throttle, Storage& storage) {
  const std::string catalog_path = absl::StrCat(path, "/", kCatalogName);
  ASSIGN_OR_RETURN(const bool has_location, IsThere(absl::StrCat(path, "/", kBlobsLocationName)));
  RETURN_IF_ERROR(CheckCatalogIsThere(path, catalog_path, has_location));
  ASSIGN_OR_RETURN(const bool has_catalog, IsThere(catalog_path));
  if (!has_catalog && !wanted.blobs.url.empty()) {
    // Before anything is made.
    ASSIGN_OR_RETURN(storage.remote, RemoteBlobs::Open(wanted.blobs, wanted.access));
    RETURN_IF_ERROR(storage.remote->CheckIsNew());
  }
  ASSIGN_OR_RETURN(const bool has_generations, IsThere(storage.generations_file));
  ASSIGN_OR_RETURN(storage.master_keys,
                   LoadOrMakeMasterKeys(path, wanted.keys, has_catalog || has_generations));
  ASSIGN_OR_RETURN(storage.catalog, OpenCatalog(catalog_path, wanted.metrics, *storage.reserve,
                                                std::move(throttle), wanted.catalog.rebuild));
  return absl::OkStatus();
}

absl::StatusOr<HeldCatalog> OpenPostgres(const std::string& conninfo,
                                         const storage::StorageMetrics& metrics,
                                         std::shared_ptr<BulkThrottle> throttle) {
  // Before it is migrated, maybe while an older service uses it.
  absl::StatusOr<std::unique_ptr<CatalogHold>> hold = CatalogHold::Take(conninfo);
  if (!hold.ok()) return OfPostgres(conninfo, hold.status());
  storage::PostgresCatalog::Options options;
  options.throttle = std::move(throttle);
  absl::StatusOr<std::unique_ptr<storage::Catalog>> catalog =
      storage::PostgresCatalog::Open(conninfo, metrics, options);
  if (!catalog.ok()) return OfPostgres(conninfo, catalog.status());
  return HeldCatalog{*std::move(hold), *std::move(catalog)};
}

// Keys and a catalog in PostgreSQL. What may not be is found out before anything is made here.
absl::Status OpenCatalogElsewhere(const std::string& path, const Wanted& wanted,
                                  const std::string& conninfo,
                                  const std::optional<CatalogLocation>& said,
                                  std::shared_ptr<BulkThrottle> throttle, Storage& storage) {
  if (wanted.catalog.rebuild)
    return absl::InvalidArgumentError("--rebuild_catalog is for a catalog in a file");
  ASSIGN_OR_RETURN(const bool has_file, IsThere(absl::StrCat(path, "/", kCatalogName)));
  if (has_file) {
    return absl::FailedPreconditionError(absl::StrCat(
        "it has a catalog of its own, ", kCatalogName,
        ", which would be lost from sight: start without --catalog, or with another --data_dir; "
        "`backupctl migrate` moves it"));
  }
  ASSIGN_OR_RETURN(HeldCatalog held, OpenPostgres(conninfo, wanted.metrics, std::move(throttle)));
  storage.catalog_hold = std::move(held.hold);
  storage.catalog = std::move(held.catalog);
  storage.catalog_place = DescribeCatalog(conninfo);
  RETURN_IF_ERROR(CheckIsOfCatalog(said, HasBlobs(path, {kBlobs, kSnapshots}), *storage.catalog));
  ASSIGN_OR_RETURN(const std::optional<std::string> id, FindCatalogId(*storage.catalog));
  ASSIGN_OR_RETURN(const bool has_generations, IsThere(storage.generations_file));
  ASSIGN_OR_RETURN(storage.master_keys,
                   LoadOrMakeMasterKeys(path, wanted.keys, id.has_value() || has_generations));
  return absl::OkStatus();
}

absl::Status OpenBlobsOf(const std::string& path, const Wanted& wanted,
                         std::shared_ptr<BulkThrottle> throttle, Storage& storage) {
  ASSIGN_OR_RETURN(
      const BlobsOptions blobs,
      ChooseBlobs(path, wanted.blobs, HasBlobs(path, {kBlobs}), *storage.catalog, Moved::kNo));
  if (!blobs.url.empty() && storage.remote == nullptr) {
    ASSIGN_OR_RETURN(storage.remote, RemoteBlobs::Open(blobs, wanted.access));
  }
  if (storage.remote == nullptr) {
    ASSIGN_OR_RETURN(storage.blobs,
                     storage::LocalBlobStore::Open(absl::StrCat(path, "/store"), wanted.metrics,
                                                   storage.reserve.get(), std::move(throttle)));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(storage.remote->CheckOwner(*storage.catalog));
  storage.blobs = storage.remote->Release();
  // Snapshots stay here.
  const std::string store = absl::StrCat(path, "/store");
  if (::mkdir(store.c_str(), 0700) != 0 && errno != EEXIST)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the folder ", store));
  return absl::OkStatus();
}

absl::StatusOr<Storage> OpenStorageIn(const std::string& path, const Wanted& wanted) {
  RETURN_IF_ERROR(MakeDataDir(path));
  Storage storage;
  ASSIGN_OR_RETURN(storage.lock, LockDataDir(path));
  RETURN_IF_ERROR(CheckIsNotMigrated(path));
  storage.reserve =
      std::make_unique<storage::SpaceReserve>(absl::StrCat(path, "/reserve"), wanted.metrics);
  // Also for what is not the catalog's and cannot ask for more, such as new files.
  storage.reserve->MakeRoom();
  RETURN_IF_ERROR(CloseDataDirToOthers(path));
  storage.generations_file = GenerationsFileOf(path, wanted.keys);
  // Reads and writes of blobs give way to the catalog.
  const auto throttle = std::make_shared<BulkThrottle>(wanted.metrics.bulk);
  ASSIGN_OR_RETURN(const std::optional<CatalogLocation> said, FindCatalogLocation(path));
  const std::string conninfo =
      wanted.catalog.conninfo.empty() && said ? said->conninfo : wanted.catalog.conninfo;
  if (conninfo.empty()) {
    RETURN_IF_ERROR(OpenCatalogHere(path, wanted, throttle, storage));
  } else {
    RETURN_IF_ERROR(OpenCatalogElsewhere(path, wanted, conninfo, said, throttle, storage));
  }
  RETURN_IF_ERROR(OpenBlobsOf(path, wanted, throttle, storage));
  if (!conninfo.empty()) {
    RETURN_IF_ERROR(storage.catalog_hold->Note(*storage.catalog));
    RETURN_IF_ERROR(JoinCatalog(path, conninfo, *storage.catalog));
  }
  storage.reserve->Restore();
  return storage;
}

}  // namespace

std::vector<std::string> CommandWords(absl::string_view text) {
  return absl::StrSplit(text, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
}

absl::StatusOr<crypto::MasterKeys> OpenMasterKeys(const std::string& data_dir,
                                                  const KeySources& sources) {
  return LoadOrMakeMasterKeys(data_dir, sources, /*has_data=*/true);
}

std::string GenerationsFileOf(const std::string& data_dir, const KeySources& sources) {
  return sources.generations_file.empty() ? absl::StrCat(data_dir, "/", kKeyGenerationsFile)
                                          : sources.generations_file;
}

absl::StatusOr<Storage> OpenStorage(const std::string& data_dir, const KeySources& keys,
                                    const storage::StorageMetrics& metrics,
                                    const CatalogOptions& catalog, const BlobsOptions& blobs,
                                    RemoteBlobs::Access access) {
  std::error_code error;
  std::string path = std::filesystem::absolute(data_dir, error).lexically_normal();
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory ", data_dir, ": the working directory is gone (",
                     error.message(), "): start in another, or give the whole path"));
  }
  // With a slash at its end the path would be its own parent, made with a mode that is not ours.
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  absl::StatusOr<Storage> storage = OpenStorageIn(path, {keys, metrics, catalog, blobs, access});
  if (storage.ok()) return storage;
  return WithMessage(storage.status(),
                     absl::StrCat("the data directory ", path, ": ", storage.status().message()));
}

absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenCatalogFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return absl::NotFoundError(absl::StrCat("there is no catalog ", path));
  return storage::SqliteCatalog::Open(path);
}

absl::StatusOr<std::optional<std::string>> FindStoreValueIn(const std::string& catalog_path,
                                                            const std::string& name) {
  // Who opens all of it migrates it, and writes what is in its log into it.
  ASSIGN_OR_RETURN(const std::unique_ptr<storage::Database> database,
                   storage::Database::Open(catalog_path, storage::Database::Mode::kReadOnly));
  storage::Query query = database->Prepare("SELECT value FROM store_values WHERE name = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return std::nullopt;
  return query.Blob(0);
}

absl::StatusOr<std::unique_ptr<storage::BlobStore>> OpenBlobs(const std::string& data_dir) {
  return storage::LocalBlobStore::Open(absl::StrCat(data_dir, "/store"));
}

absl::Status ClaimBlobs(const std::string& data_dir, Storage& storage) {
  return storage.remote == nullptr ? absl::OkStatus()
                                   : storage.remote->Claim(data_dir, *storage.catalog);
}

absl::StatusOr<std::unique_ptr<storage::BlobStore>> OpenBlobs(const std::string& data_dir,
                                                              const BlobsOptions& wanted,
                                                              storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(
      const BlobsOptions blobs,
      ChooseBlobs(data_dir, wanted, HasBlobs(data_dir, {kBlobs}), catalog, Moved::kMaybe));
  if (blobs.url.empty()) return OpenBlobs(data_dir);
  ASSIGN_OR_RETURN(const std::unique_ptr<RemoteBlobs> remote,
                   RemoteBlobs::Open(blobs, RemoteBlobs::Access::kRead));
  RETURN_IF_ERROR(remote->Adopt(catalog));
  return remote->Release();
}

absl::StatusOr<HeldCatalog> OpenCatalogAt(const CatalogLocation& location) {
  ASSIGN_OR_RETURN(HeldCatalog held, OpenPostgres(location.conninfo, {}, nullptr));
  RETURN_IF_ERROR(CheckIsOfCatalog(location, /*has_data=*/true, *held.catalog));
  return held;
}

Labels CatalogLibraryVersion() { return {{"sqlite", storage::Database::LibraryVersion()}}; }

}  // namespace backup
