#include "services/backup/migration_marks.h"

#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/durable_file.h"
#include "base/file_system.h"
#include "base/status_macros.h"

namespace backup {
namespace {

constexpr char kMigrationTitle[] = "backup migration 1";
constexpr char kMovedTitle[] = "backup moved 1";
constexpr size_t kMaxMarkSize = 64 << 10;

std::string PathOf(const std::string& data_dir, const char* name) {
  return absl::StrCat(data_dir, "/", name);
}

// Its lines behind the title, `count` of them; nothing if there is no such file.
absl::StatusOr<std::optional<std::vector<std::string>>> ReadLines(const std::string& path,
                                                                  const char* title, size_t count) {
  const std::optional<std::string> text = ReadSmallFile(path, kMaxMarkSize);
  if (!text && errno == ENOENT) return std::nullopt;
  if (!text) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  if (lines.size() != count + 2 || lines.front() != title || !lines.back().empty())
    return absl::FailedPreconditionError(absl::StrCat(path, " is not whole"));
  lines.pop_back();
  lines.erase(lines.begin());
  return lines;
}

absl::Status WriteLines(const std::string& path, const std::vector<std::string>& lines) {
  if (ReplaceFile(path, absl::StrCat(absl::StrJoin(lines, "\n"), "\n"))) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
}

absl::Status Remove(const std::string& data_dir, const char* name) {
  FileSystem& files = FileSystem::Real();
  const std::string path = PathOf(data_dir, name);
  if (!files.Remove(path) && errno != ENOENT)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot remove ", path));
  if (files.SyncFolder(data_dir)) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot sync ", data_dir));
}

}  // namespace

absl::StatusOr<std::optional<MigrationMark>> FindMigrationMark(const std::string& data_dir) {
  ASSIGN_OR_RETURN(const auto lines,
                   ReadLines(PathOf(data_dir, kMigrationMarkName), kMigrationTitle, 4));
  if (!lines) return std::nullopt;
  return MigrationMark{(*lines)[0], (*lines)[1], (*lines)[2], (*lines)[3]};
}

absl::Status WriteMigrationMark(const std::string& data_dir, const MigrationMark& mark) {
  return WriteLines(PathOf(data_dir, kMigrationMarkName),
                    {kMigrationTitle, mark.id, mark.from, mark.conninfo, mark.blobs_url});
}

absl::Status RemoveMigrationMark(const std::string& data_dir) {
  return Remove(data_dir, kMigrationMarkName);
}

absl::StatusOr<std::optional<MovedMark>> FindMovedMark(const std::string& data_dir) {
  ASSIGN_OR_RETURN(const auto lines, ReadLines(PathOf(data_dir, kMovedMarkName), kMovedTitle, 2));
  if (!lines) return std::nullopt;
  return MovedMark{(*lines)[0], (*lines)[1]};
}

absl::Status WriteMovedMark(const std::string& data_dir, const MovedMark& mark) {
  return WriteLines(PathOf(data_dir, kMovedMarkName), {kMovedTitle, mark.id, mark.to});
}

absl::Status RemoveMovedMark(const std::string& data_dir) {
  return Remove(data_dir, kMovedMarkName);
}

absl::Status CheckIsNotMigrated(const std::string& data_dir) {
  ASSIGN_OR_RETURN(const std::optional<MovedMark> moved, FindMovedMark(data_dir));
  if (moved) {
    return absl::FailedPreconditionError(
        absl::StrCat("it was migrated to ", moved->to,
                     ": start the service there; to go on here, without what came there since, "
                     "`backupctl migrate --undo --from ",
                     data_dir, "`"));
  }
  ASSIGN_OR_RETURN(const std::optional<MigrationMark> coming, FindMigrationMark(data_dir));
  if (!coming) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("a migration from ", coming->from,
                   " to it is not finished: run `backupctl migrate` with --finish"));
}

}  // namespace backup
