#include "services/backupctl/restore_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "services/backupctl/safe_path.h"

namespace backup::ctl {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr int kMaxNumberedPaths = 1000;

std::pair<absl::string_view, absl::string_view> SplitLast(absl::string_view path) {
  const size_t separator = path.rfind('/');
  if (separator == absl::string_view::npos) return {"", path};
  return {path.substr(0, separator), path.substr(separator + 1)};
}

}  // namespace

absl::StatusOr<RestoreFolder> RestoreFolder::Open(const std::string& path, bool force) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (::mkdir(path.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the folder ", path));
  }
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid())
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the folder ", path));
  const bool empty = std::filesystem::is_empty(path, error);
  if (error)
    return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot read the folder ", path));
  if (!empty && !force) {
    return absl::AlreadyExistsError(absl::StrCat(
        "the folder ", path, " is not empty: name another, or replace files in it with --force"));
  }
  return RestoreFolder(std::move(root), force);
}

// Opens the folder that a safe path's last component goes in, and makes it if need be. Each step is
// relative to the one before and follows no link, so that nothing in the folder can lead elsewhere.
// AlreadyExists if something that is no folder is in the way.
absl::StatusOr<UniqueFd> RestoreFolder::OpenParent(absl::string_view path) const {
  UniqueFd folder(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
  if (!folder.valid()) return absl::ErrnoToStatus(errno, "cannot use the folder");
  const absl::string_view parents = SplitLast(path).first;
  if (parents.empty()) return folder;
  for (const std::string& component : std::vector<std::string>(absl::StrSplit(parents, '/'))) {
    if (::mkdirat(folder.get(), component.c_str(), kFolderMode) != 0 && errno != EEXIST) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the folder ", component));
    }
    UniqueFd next(
        ::openat(folder.get(), component.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid() && (errno == ENOTDIR || errno == ELOOP)) {
      return absl::AlreadyExistsError(absl::StrCat(component, " is there and is no folder"));
    }
    if (!next.valid()) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the folder ", component));
    }
    folder = std::move(next);
  }
  return folder;
}

absl::Status RestoreFolder::TryPlace(OutputFile& file, const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd parent, OpenParent(path));
  const bool replace = force_ && !placed_.contains(path);
  RETURN_IF_ERROR(file.Commit(parent.get(), std::string(SplitLast(path).second), replace));
  placed_.insert(path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> RestoreFolder::Place(OutputFile& file, absl::string_view name) {
  std::vector<std::string> paths = SafePaths(name);
  const std::string last = paths.back();
  for (int number = 2; number <= kMaxNumberedPaths; ++number) {
    for (const std::string& path : paths) {
      const absl::Status placed = TryPlace(file, path);
      if (placed.ok()) return path;
      if (!absl::IsAlreadyExists(placed)) return placed;
    }
    paths = {NumberedPath(last, number)};
  }
  return absl::AlreadyExistsError(absl::StrCat("every place for ", NameToText(name), " is taken"));
}

absl::Status RestoreFolder::Sync() const {
  if (::syncfs(root_.get()) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make the restored files durable");
  }
  return absl::OkStatus();
}

}  // namespace backup::ctl
