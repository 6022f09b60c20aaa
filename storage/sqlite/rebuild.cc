#include "storage/sqlite/rebuild.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

bool Sync(const std::string& path, int flags) {
  const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC));
  return file.valid() && ::fsync(file.get()) == 0;
}

std::string FolderOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

int64_t FreeBytesAt(const std::string& folder) {
  struct statvfs disk = {};
  if (::statvfs(folder.c_str(), &disk) != 0) return 0;
  return static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
}

absl::Status CheckThatItMay(Database& database, const std::string& path, int64_t max_bytes,
                            int64_t spare_bytes) {
  ASSIGN_OR_RETURN(const int64_t size_bytes, database.SizeBytes());
  if (size_bytes > max_bytes)
    return absl::FailedPreconditionError("start once with --rebuild_catalog");
  if (FreeBytesAt(FolderOf(path)) < size_bytes + spare_bytes)
    return absl::ResourceExhaustedError(
        absl::StrCat("free ", size_bytes + spare_bytes, " bytes and start again"));
  return absl::OkStatus();
}

// Without a log nothing of the old catalog can be taken for a part of the new one. It works only
// while nobody else has the catalog open.
absl::Status LeaveLog(Database& database) {
  Query query = database.Prepare("PRAGMA journal_mode = DELETE");
  RETURN_IF_ERROR(query.Step().status());
  return query.Blob(0) == "delete"
             ? absl::OkStatus()
             : absl::FailedPreconditionError("end the other program that has it open");
}

absl::Status CopyTo(const std::string& copy_path, Database& database, mode_t mode) {
  const std::string quoted = absl::StrReplaceAll(copy_path, {{"'", "''"}});
  RETURN_IF_ERROR(database.Execute("PRAGMA auto_vacuum = INCREMENTAL"));
  RETURN_IF_ERROR(database.Execute(absl::StrCat("VACUUM INTO '", quoted, "'").c_str()));
  if (::chmod(copy_path.c_str(), mode) != 0 || !Sync(copy_path, O_RDONLY))
    return absl::ErrnoToStatus(errno, "cannot write the copy");
  return absl::OkStatus();
}

absl::Status TryRebuild(const std::string& path, const std::string& copy_path,
                        std::unique_ptr<Database> database, int64_t max_bytes,
                        int64_t spare_bytes) {
  RETURN_IF_ERROR(CheckThatItMay(*database, path, max_bytes, spare_bytes));
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return absl::ErrnoToStatus(errno, "it is gone");
  RETURN_IF_ERROR(LeaveLog(*database));
  RETURN_IF_ERROR(CopyTo(copy_path, *database, info.st_mode & 0777));
  database.reset();
  if (::rename(copy_path.c_str(), path.c_str()) != 0 ||
      !Sync(FolderOf(path), O_RDONLY | O_DIRECTORY)) {
    return absl::ErrnoToStatus(errno, "cannot take the copy for it");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> NeedsRebuild(Database& database) {
  Query query = database.Prepare("PRAGMA auto_vacuum");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0) == 0;
}

void Rebuild(const std::string& path, std::unique_ptr<Database> database, int64_t max_bytes,
             int64_t spare_bytes) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string copy_path = absl::StrCat(path, ".new");
  ::unlink(copy_path.c_str());
  const absl::Status rebuilt =
      TryRebuild(path, copy_path, std::move(database), max_bytes, spare_bytes);
  if (rebuilt.ok()) {
    LOG(INFO) << "the catalog was rewritten in "
              << absl::FromChrono(std::chrono::steady_clock::now() - begin)
              << ", so that it can give room back to the file system";
    return;
  }
  ::unlink(copy_path.c_str());
  LOG(WARNING) << "the catalog is of an older version and cannot give room back to the file "
                  "system; to have it rewritten, "
               << rebuilt.message();
}

}  // namespace backup::storage
