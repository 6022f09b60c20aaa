#include "services/backup/open_storage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "storage/local/local_blob_store.h"
#include "storage/sqlite/sqlite_catalog.h"

namespace backup {
namespace {

absl::Status MakeDataDir(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the data directory ", path));
}

absl::StatusOr<UniqueFd> LockDataDir(const std::string& path) {
  const std::string lock_path = absl::StrCat(path, "/lock");
  UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", lock_path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AbortedError(absl::StrCat("another process holds the data directory ", path,
                                           ": stop it first, or give another --data_dir"));
  }
  return lock;
}

}  // namespace

absl::StatusOr<Storage> OpenStorage(const std::string& data_dir,
                                    const std::string& master_key_file) {
  std::string path = std::filesystem::absolute(data_dir).lexically_normal();
  // With a slash at its end the path would be its own parent, made with a mode that is not ours.
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  RETURN_IF_ERROR(MakeDataDir(path));
  Storage storage;
  ASSIGN_OR_RETURN(storage.lock, LockDataDir(path));
  ASSIGN_OR_RETURN(
      storage.master_key,
      crypto::MasterKey::LoadOrCreate(master_key_file.empty() ? absl::StrCat(path, "/master.key")
                                                              : master_key_file));
  ASSIGN_OR_RETURN(storage.catalog,
                   storage::SqliteCatalog::Open(absl::StrCat(path, "/catalog.db")));
  ASSIGN_OR_RETURN(storage.blobs, storage::LocalBlobStore::Open(absl::StrCat(path, "/store")));
  return storage;
}

}  // namespace backup
