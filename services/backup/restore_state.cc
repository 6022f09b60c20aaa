#include "services/backup/restore_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "content/pack_footer.h"
#include "content/store_keys.h"
#include "glog/logging.h"
#include "services/backup/audit/actions.h"
#include "services/backup/audit/audit_log.h"
#include "services/backup/catalog_mark.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/key_retirement.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backup/migration_marks.h"

namespace backup {
namespace {

// How many version ids are skipped: more than may have been given between the last word of how far
// the catalog was, which is minutes old, and its end.
constexpr int64_t kSkippedIds = int64_t{1} << 24;
// In a catalog that is larger Catalog::Check() looks for nothing but what CopyTo() has looked for.
constexpr uintmax_t kMaxComparedBytes = 256 << 20;
// So many tell which store's they are.
constexpr int kPacksToCompare = 16;

std::string CatalogPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/", kCatalogName);
}
std::string NewCatalogPath(const std::string& data_dir) {
  return absl::StrCat(CatalogPath(data_dir), ".new");
}

void RemoveCatalog(const std::string& path) {
  for (const char* const end : {"", "-wal", "-shm"}) ::unlink(absl::StrCat(path, end).c_str());
}

absl::Status Sync(const std::string& path, int flags) {
  const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC));
  if (file.valid() && ::fsync(file.get()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot sync ", path));
}

class FileSink final : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<FileSink>> Create(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
    return std::unique_ptr<FileSink>(new FileSink(path, std::move(fd)));
  }
  absl::Status Write(absl::string_view piece) override {
    while (!piece.empty()) {
      const ssize_t written = ::write(fd_.get(), piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path_));
      piece.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

 private:
  FileSink(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  const std::string path_;
  const UniqueFd fd_;
};

// The key that a snapshot takes; if it is not at hand, the current one, which then says so.
const crypto::MasterKey& KeyOf(const content::SnapshotFooter& footer,
                               const crypto::MasterKeys& keys) {
  const crypto::MasterKey* const found = keys.Find(footer.key_fingerprint);
  return found != nullptr ? *found : *keys.current;
}

// An older one would silently lack what this one has.
absl::Status CheckKeyIsThere(const std::string& path, const content::SnapshotFooter& footer,
                             const crypto::MasterKeys& keys) {
  if (footer.key_fingerprint.empty() || keys.Find(footer.key_fingerprint) != nullptr)
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the snapshot ", path, " is sealed under another master key (",
                   footer.key_fingerprint, ") than ", keys.origin,
                   ": if it is this store's, give that as --old_master_key_file, else choose a "
                   "--snapshot"));
}

// The snapshot's catalog, whole and sound.
absl::StatusOr<std::unique_ptr<storage::Catalog>> Unpack(const RandomAccess& file,
                                                         const crypto::MasterKey& master_key,
                                                         const std::string& to,
                                                         const StateListener& listener) {
  RemoveCatalog(to);
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<FileSink> sink, FileSink::Create(to));
    listener("catalog is to be written");
    RETURN_IF_ERROR(content::ReadSnapshot(file, master_key, *sink));
  }
  listener("catalog is written");
  ASSIGN_OR_RETURN(std::unique_ptr<storage::Catalog> catalog, OpenCatalogFile(to));
  RETURN_IF_ERROR(catalog->Check([] {}, {}));
  return catalog;
}

// What was sealed anew by then may be sealed by what is to go again.
absl::Status RetireFromTheBeginning(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(handlers::KeyRetirement retirement, handlers::FindRetirement(transaction));
  if (retirement.generations.empty()) return absl::OkStatus();
  retirement.BeginRound();
  return handlers::SaveRetirement(transaction, retirement);
}

// So that it can be put in the place of a later catalog.
absl::Status Prepare(storage::Catalog& catalog, const CatalogMark& mark,
                     TakeOver take_over = TakeOver::kRestored) {
  return catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.ForgetPending());
    RETURN_IF_ERROR(RetireFromTheBeginning(transaction));
    ASSIGN_OR_RETURN(const int64_t next, transaction.NextVersionId());
    RETURN_IF_ERROR(handlers::SkipGenerations(transaction, SystemClock().Now()));
    RETURN_IF_ERROR(LetTakeOver(transaction, take_over));
    const int64_t ahead = std::max<int64_t>(0, mark.next_version_id - next);
    return transaction.ReserveVersionIds(ahead + kSkippedIds).status();
  });
}

// Whether the next older snapshot may do when this is what came of one.
bool IsOfTheSnapshot(const absl::Status& error) {
  const std::optional<Reason> reason = ReasonOf(error);
  return reason == Reason::kBlobDamaged || reason == Reason::kStateCorrupt ||
         absl::IsNotFound(error) || absl::IsDataLoss(error) || absl::IsInvalidArgument(error) ||
         reason == Reason::kStorageIo;
}

absl::StatusOr<std::vector<FoundSnapshot>> FindChosen(const HeldDataDir& data_dir,
                                                      const SnapshotChoice& choice) {
  if (choice.path.empty()) return FindOwnSnapshots(data_dir, choice.folders);
  FoundSnapshot chosen;
  chosen.path = choice.path;
  return std::vector<FoundSnapshot>{chosen};
}

// The secrets that packs of this directory say their store has, as they are sealed.
absl::StatusOr<std::set<std::string>> SecretsOfPacks(const std::string& data_dir) {
  std::set<std::string> secrets;
  std::error_code error;
  if (!std::filesystem::is_directory(data_dir + "/store", error)) return secrets;
  ASSIGN_OR_RETURN(const std::unique_ptr<storage::BlobStore> blobs, OpenBlobs(data_dir));
  int left = kPacksToCompare;
  const absl::Status listed = blobs->List([&](const storage::BlobInfo& info) {
    const auto blob = blobs->Open(info.id);
    if (!blob.ok() || !content::IsPack(**blob).value_or(false)) return absl::OkStatus();
    const absl::StatusOr<content::PackFooter> footer = content::ReadPackFooter(**blob);
    if (footer.ok()) secrets.insert(footer->sealed_secret);
    if (footer.ok()) --left;
    return left == 0 ? absl::CancelledError() : absl::OkStatus();
  });
  if (!listed.ok() && !absl::IsCancelled(listed)) return listed;
  return secrets;
}

// Whether one of these is the store's secret, which may have been sealed anew.
bool HasSecretIn(storage::Catalog& catalog, const HeldDataDir& data_dir, absl::Time now,
                 const std::set<std::string>& secrets) {
  const auto sealed = catalog.Read([](storage::Snapshot& snapshot) {
    return snapshot.FindStoreValue(std::string(content::StoreKeys::kName));
  });
  if (!sealed.ok() || !*sealed) return false;
  if (secrets.contains(**sealed)) return true;
  const auto keeper = handlers::KeyKeeper::Read(catalog, data_dir.master_keys.Copy(),
                                                data_dir.generations_file, now);
  if (!keeper.ok()) return false;
  const auto keys = content::StoreKeys::Open(**sealed, (*keeper)->ring());
  return keys.ok() && std::any_of(secrets.begin(), secrets.end(), [&](const std::string& each) {
           const auto others = content::StoreKeys::Open(each, (*keeper)->ring());
           return others.ok() && (*others)->DictionaryKey() == (*keys)->DictionaryKey();
         });
}

// Nothing but where it lies says that the snapshot is of this store: packs, or where they are, may
// say that it is not.
absl::Status CheckGuess(const HeldDataDir& data_dir, const std::string& snapshot_path,
                        absl::Time now, storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const bool fits, FitsLocation(data_dir.path, catalog));
  if (!fits) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the snapshot ", snapshot_path, " is of another store than ", data_dir.path, "/",
        kBlobsLocationName, ": leave --snapshot_dir out, or choose a --snapshot"));
  }
  ASSIGN_OR_RETURN(const std::set<std::string> secrets, SecretsOfPacks(data_dir.path));
  if (secrets.empty() || HasSecretIn(catalog, data_dir, now, secrets)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the snapshot ", snapshot_path, " is of another store than what is in ",
                   data_dir.path, "/store: leave --snapshot_dir out, or choose a --snapshot"));
}

// NotFound if there is none, or nothing in it.
absl::StatusOr<std::unique_ptr<storage::Catalog>> OpenCatalogInPlace(const std::string& data_dir) {
  const std::string path = CatalogPath(data_dir);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size == 0) return absl::NotFoundError("there is no catalog");
  return OpenCatalogFile(path);
}

// Empty if nothing there says it.
std::string StoreInPlace(const std::string& data_dir) {
  const storage::SnapshotFolder own(absl::StrCat(data_dir, "/", kSnapshotFolderName));
  const absl::StatusOr<std::vector<storage::SnapshotFolder::Entry>> entries = own.List();
  if (entries.ok()) {
    for (const storage::SnapshotFolder::Entry& entry : *entries) {
      if (!entry.store.empty()) return entry.store;
    }
  }
  const absl::StatusOr<std::optional<std::string>> store =
      FindStoreValueIn(CatalogPath(data_dir), storage::SnapshotFolder::kStoreValue);
  return store.ok() ? store->value_or("") : "";
}

// The only one that is found, or that the keys may open any snapshot of; empty if there is none.
absl::StatusOr<std::string> OnlyStoreOf(const std::vector<FoundSnapshot>& found,
                                        const crypto::MasterKeys& keys) {
  std::map<std::string, std::string> newest_paths;  // By store.
  std::set<std::string> of_our_keys;
  for (const FoundSnapshot& each : found) {
    if (each.entry.store.empty()) continue;
    newest_paths.try_emplace(each.entry.store, each.path);
    if (!IsOfAnotherKey(each, keys)) of_our_keys.insert(each.entry.store);
  }
  if (newest_paths.empty()) return "";
  if (newest_paths.size() == 1) return newest_paths.begin()->first;
  if (of_our_keys.size() == 1) return *of_our_keys.begin();
  return absl::FailedPreconditionError(absl::StrCat(
      "there are snapshots of several stores, and nothing tells which of them this one is: choose "
      "a --snapshot; the newest of each are ",
      absl::StrJoin(newest_paths, ", ", [](std::string* out, const auto& store_and_path) {
        out->append(store_and_path.second);
      })));
}

// Moves what is there of a catalog into `aside`; returns whether there was anything.
absl::StatusOr<bool> MoveAside(const std::string& catalog, const std::string& aside,
                               const StateListener& listener) {
  bool any = false;
  // The catalog first: without it a service does not start, and its log is of no use.
  for (const char* const end : {"", "-wal", "-shm"}) {
    const std::string from = absl::StrCat(catalog, end);
    if (::access(from.c_str(), F_OK) != 0) continue;
    if (!any && ::mkdir(aside.c_str(), 0700) != 0 && errno != EEXIST)
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the folder ", aside));
    const std::string to = absl::StrCat(aside, "/", kCatalogName, end);
    if (::rename(from.c_str(), to.c_str()) != 0)
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot move ", from, " to ", to));
    any = true;
    listener("a file is aside");
  }
  return any;
}

// One that is not there yet.
std::string AsidePath(const std::string& data_dir, absl::Time now) {
  const std::string path = absl::StrCat(
      data_dir, "/aside-", absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()));
  std::string free = path;
  for (int i = 2; ::access(free.c_str(), F_OK) == 0; ++i) free = absl::StrCat(path, "-", i);
  return free;
}

}  // namespace

std::vector<std::string> SnapshotFolders(const std::string& data_dir,
                                         const std::string& snapshot_dir) {
  std::vector<std::string> folders = {absl::StrCat(data_dir, "/", kSnapshotFolderName)};
  if (!snapshot_dir.empty()) folders.push_back(snapshot_dir);
  return folders;
}

std::vector<FoundSnapshot> FindSnapshots(const std::vector<std::string>& folders,
                                         const crypto::MasterKeys* master_keys) {
  std::vector<FoundSnapshot> found;
  for (const std::string& path : folders) {
    const storage::SnapshotFolder folder(path);
    const absl::StatusOr<std::vector<storage::SnapshotFolder::Entry>> entries = folder.List();
    if (!entries.ok()) {
      FoundSnapshot& unlisted = found.emplace_back();
      unlisted.path = path;
      unlisted.readable = entries.status();
      continue;
    }
    for (const storage::SnapshotFolder::Entry& entry : *entries) {
      FoundSnapshot each = {entry, folder.PathOf(entry), {}, absl::OkStatus()};
      const auto read = [&]() -> absl::Status {
        ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> file, folder.Open(entry));
        ASSIGN_OR_RETURN(each.footer, content::ReadSnapshotFooter(*file));
        if (master_keys == nullptr) return absl::NotFoundError("there is no master key");
        return content::CheckSnapshotKey(each.footer, KeyOf(each.footer, *master_keys));
      };
      each.readable = read();
      found.push_back(std::move(each));
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const FoundSnapshot& a, const FoundSnapshot& b) {
    return a.entry.number > b.entry.number;
  });
  return found;
}

bool IsOfAnotherKey(const FoundSnapshot& found, const crypto::MasterKeys& master_keys) {
  return !found.footer.key_fingerprint.empty() &&
         master_keys.Find(found.footer.key_fingerprint) == nullptr;
}

absl::StatusOr<std::vector<FoundSnapshot>> FindOwnSnapshots(
    const HeldDataDir& data_dir, const std::vector<std::string>& folders) {
  std::vector<FoundSnapshot> found = FindSnapshots(folders, &data_dir.master_keys);
  std::string store = StoreInPlace(data_dir.path);
  const std::string own_folder = absl::StrCat(data_dir.path, "/", kSnapshotFolderName, "/");
  for (FoundSnapshot& each : found) {
    each.is_guess =
        (store.empty() || each.entry.store.empty()) && !absl::StartsWith(each.path, own_folder);
  }
  if (store.empty()) {
    ASSIGN_OR_RETURN(store, OnlyStoreOf(found, data_dir.master_keys));
  }
  std::erase_if(found, [&](const FoundSnapshot& each) {
    return !each.entry.store.empty() && each.entry.store != store;
  });
  return found;
}

absl::Status CheckOwner(const std::string& data_dir) {
  struct stat info = {};
  if (::stat(data_dir.c_str(), &info) != 0 || info.st_uid == ::geteuid()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(data_dir, " is of the user with the number ", info.st_uid,
                   ": run this as that user, whose service could not open what is made here"));
}

absl::StatusOr<HeldDataDir> HoldDataDir(const std::string& data_dir, const KeySources& sources) {
  std::error_code error;
  HeldDataDir held;
  held.path = std::filesystem::absolute(data_dir, error).lexically_normal();
  if (error || !std::filesystem::is_directory(held.path, error))
    return absl::NotFoundError(absl::StrCat("there is no folder ", data_dir));
  while (held.path.size() > 1 && held.path.back() == '/') held.path.pop_back();
  RETURN_IF_ERROR(CheckOwner(held.path));
  ASSIGN_OR_RETURN(held.lock, LockDataDir(held.path));
  if (const absl::Status here = CheckIsNotMigrated(held.path); !here.ok())
    return WithMessage(here, absl::StrCat(held.path, ": ", here.message()));
  ASSIGN_OR_RETURN(held.master_keys, OpenMasterKeys(held.path, sources));
  held.generations_file = GenerationsFileOf(held.path, sources);
  return held;
}

void TellAudit(const HeldDataDir& data_dir, storage::Catalog& catalog, const char* what,
               absl::string_view source, absl::Time now) {
  const auto tell = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<handlers::KeyKeeper> keeper,
                     handlers::KeyKeeper::Read(catalog, data_dir.master_keys.Copy(),
                                               data_dir.generations_file, now));
    ASSIGN_OR_RETURN(const std::unique_ptr<content::StoreKeys> keys,
                     handlers::OpenStoreKeys(catalog, keeper->ring()));
    return audit::NoteOtherState(audit::Chain(keys->AuditKey()), catalog,
                                 audit::HeadPath(data_dir.generations_file), what, source, now);
  };
  const absl::Status told = tell();
  LOG_IF(ERROR, !told.ok()) << "the audit log cannot tell of this: " << told;
}

absl::StatusOr<NewCatalog> OpenSnapshot(const HeldDataDir& data_dir, const SnapshotChoice& choice,
                                        const StateListener& listener) {
  NewCatalog result;
  result.path = NewCatalogPath(data_dir.path);
  ASSIGN_OR_RETURN(const std::vector<FoundSnapshot> found, FindChosen(data_dir, choice));
  for (const FoundSnapshot& each : found) {
    const std::string& path = each.path;
    const auto open = [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> file, storage::OpenFile(path));
      ASSIGN_OR_RETURN(const content::SnapshotFooter footer, content::ReadSnapshotFooter(*file));
      if (choice.path.empty()) RETURN_IF_ERROR(CheckKeyIsThere(path, footer, data_dir.master_keys));
      result.snapshot_time = footer.time;
      ASSIGN_OR_RETURN(result.catalog,
                       Unpack(*file, KeyOf(footer, data_dir.master_keys), result.path, listener));
      if (each.is_guess) RETURN_IF_ERROR(CheckGuess(data_dir, path, footer.time, *result.catalog));
      return Prepare(*result.catalog, ReadCatalogMark(data_dir.path));
    };
    const absl::Status opened = open();
    if (opened.ok()) {
      result.snapshot_path = path;
      listener("catalog is prepared");
      return result;
    }
    result.catalog.reset();
    RemoveCatalog(result.path);
    if (!IsOfTheSnapshot(opened)) return opened;
    result.unreadable.push_back(absl::StrCat(path, ": ", opened.message()));
  }
  return absl::NotFoundError(found.empty() ? absl::StrCat("there is no snapshot of this store in ",
                                                          absl::StrJoin(choice.folders, ", "))
                                           : absl::StrCat("no snapshot can be read: ",
                                                          absl::StrJoin(result.unreadable, "; ")));
}

void DiscardCatalog(NewCatalog catalog) {
  catalog.catalog.reset();
  RemoveCatalog(catalog.path);
}

absl::StatusOr<NewCatalog> CopyCatalogInPlace(const HeldDataDir& data_dir, int64_t next_version_id,
                                              absl::Time now) {
  NewCatalog result;
  result.path = NewCatalogPath(data_dir.path);
  result.snapshot_path = CatalogPath(data_dir.path);
  result.snapshot_time = now;
  RemoveCatalog(result.path);
  const auto copy = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<storage::Catalog> catalog,
                     OpenCatalogInPlace(data_dir.path));
    RETURN_IF_ERROR(CheckCatalogMark(data_dir.path, *catalog));
    ASSIGN_OR_RETURN(const int64_t next, catalog->Read([](storage::Snapshot& snapshot) {
      return snapshot.NextVersionId();
    }));
    if (next < next_version_id) return absl::NotFoundError("a snapshot is newer");
    return catalog->CopyTo(result.path, [] {}, {});
  };
  const absl::Status copied = copy();
  if (ReasonOf(copied) == Reason::kStorageFull || absl::IsUnimplemented(copied)) return copied;
  if (!copied.ok()) return absl::NotFoundError(copied.message());
  ASSIGN_OR_RETURN(result.catalog, OpenCatalogFile(result.path));
  std::error_code error;
  const bool is_checked = std::filesystem::file_size(result.path, error) > kMaxComparedBytes;
  const absl::Status sound =
      is_checked && !error ? absl::OkStatus() : result.catalog->Check([] {}, {});
  if (!sound.ok()) {
    DiscardCatalog(std::move(result));
    return ReasonOf(sound) == Reason::kStateCorrupt ? absl::NotFoundError(sound.message()) : sound;
  }
  RETURN_IF_ERROR(Prepare(*result.catalog, ReadCatalogMark(data_dir.path)));
  return result;
}

absl::StatusOr<NewCatalog> MakeEmptyCatalog(const HeldDataDir& data_dir) {
  NewCatalog result;
  result.path = NewCatalogPath(data_dir.path);
  result.snapshot_time = absl::InfinitePast();
  RemoveCatalog(result.path);
  ASSIGN_OR_RETURN(const std::unique_ptr<FileSink> empty, FileSink::Create(result.path));
  ASSIGN_OR_RETURN(result.catalog, OpenCatalogFile(result.path));
  RETURN_IF_ERROR(Prepare(*result.catalog, ReadCatalogMark(data_dir.path)));
  return result;
}

absl::StatusOr<std::string> PutInPlace(const HeldDataDir& data_dir, absl::Time now,
                                       const char* what, absl::string_view source,
                                       const StateListener& listener) {
  const std::string catalog = CatalogPath(data_dir.path);
  const std::string fresh = NewCatalogPath(data_dir.path);
  // It takes what is in its log with it when it is closed, unless that fails.
  std::error_code error;
  const auto log_bytes = std::filesystem::file_size(absl::StrCat(fresh, "-wal"), error);
  if (!error && log_bytes > 0) {
    return MakeError(Reason::kStorageIo, absl::StrCat("a part of ", fresh, " is still in its log"),
                     "catalog");
  }
  RETURN_IF_ERROR(Sync(fresh, O_RDONLY));
  listener("catalog is durable");
  const std::string aside = AsidePath(data_dir.path, now);
  ASSIGN_OR_RETURN(const bool any, MoveAside(catalog, aside, listener));
  listener("catalog is to be put in place");
  if (::rename(fresh.c_str(), catalog.c_str()) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot rename ", fresh));
  listener("catalog is in place");
  RETURN_IF_ERROR(Sync(data_dir.path, O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::unique_ptr<storage::Catalog> placed, OpenCatalogFile(catalog));
  // Before the mark: as long as that does not fit, a service refuses to start, and finds nothing.
  TellAudit(data_dir, *placed, what, source, now);
  // Until now the mark is that of the catalog that is aside.
  RETURN_IF_ERROR(WriteCatalogMark(data_dir.path, *placed));
  return any ? aside : std::string();
}

absl::Status AcceptCatalog(const HeldDataDir& data_dir) {
  const CatalogMark mark = ReadCatalogMark(data_dir.path);
  ASSIGN_OR_RETURN(const std::optional<CatalogLocation> elsewhere,
                   FindCatalogLocation(data_dir.path));
  HeldCatalog held;
  if (elsewhere) {
    ASSIGN_OR_RETURN(held, OpenCatalogAt(*elsewhere));
  } else {
    ASSIGN_OR_RETURN(held.catalog, OpenCatalogFile(CatalogPath(data_dir.path)));
  }
  RETURN_IF_ERROR(Prepare(*held.catalog, mark, TakeOver::kAccepted));
  TellAudit(data_dir, *held.catalog, audit::kStateAccepted, "", SystemClock().Now());
  return WriteCatalogMark(data_dir.path, *held.catalog);
}

}  // namespace backup
