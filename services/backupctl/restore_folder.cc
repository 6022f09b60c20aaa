#include "services/backupctl/restore_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "crypto/sha256.h"
#include "services/backupctl/safe_path.h"

namespace backup::ctl {
namespace {

constexpr mode_t kFolderMode = 0700;

std::pair<absl::string_view, absl::string_view> SplitLast(absl::string_view path) {
  const size_t separator = path.rfind('/');
  if (separator == absl::string_view::npos) return {"", path};
  return {path.substr(0, separator), path.substr(separator + 1)};
}

absl::Status NameRefused(absl::string_view name) {
  return absl::UnknownError(absl::StrCat("the file system does not take the name ",
                                         NameToText(name), ": try --portable-names"));
}

absl::Status ErrorAt(absl::string_view what, absl::string_view name) {
  if (errno == EINVAL || errno == EILSEQ) return NameRefused(name);
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " ", NameToText(name)));
}

absl::StatusOr<UniqueFd> OpenRoot(const std::string& path) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.valid()) return root;
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the folder ", path));
}

// Whether all that `fd` is open on has this SHA-256.
absl::StatusOr<bool> HasSha256(int fd, absl::string_view sha256, const Interrupt& interrupt) {
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  std::vector<char> piece(kPieceSize);
  crypto::Sha256 hash;
  while (true) {
    RETURN_IF_ERROR(interrupt.Check());
    const ssize_t size = ::read(fd, piece.data(), piece.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return absl::ErrnoToStatus(errno, "cannot read what is there");
    if (size == 0) return hash.Finish() == sha256;
    hash.Update(absl::string_view(piece.data(), static_cast<size_t>(size)));
  }
}

}  // namespace

absl::StatusOr<RestoreFolder> RestoreFolder::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (::mkdir(path.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the folder ", path));
  }
  ASSIGN_OR_RETURN(UniqueFd root, OpenRoot(path));
  RestoreFolder folder(std::move(root));
  folder.removed_parts_ = RemoveLeftOverParts(folder.root_.get());
  RETURN_IF_ERROR(folder.NoteTime());
  return folder;
}

absl::StatusOr<RestoreFolder> RestoreFolder::OpenToLook(const std::string& path) {
  absl::StatusOr<UniqueFd> root = OpenRoot(path);
  if (absl::IsNotFound(root.status())) return RestoreFolder(UniqueFd());
  RETURN_IF_ERROR(root.status());
  return RestoreFolder(*std::move(root));
}

// From a new file, which also shows whether files can be made at all.
absl::Status RestoreFolder::NoteTime() {
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> probe, NewFile(0));
  struct stat info;
  if (::fstat(root_.get(), &info) != 0) return absl::ErrnoToStatus(errno, "cannot use the folder");
  opened_ = info.st_mtim;
  return absl::OkStatus();
}

size_t RestoreFolder::max_component_size() const {
  const long size = root_.valid() ? ::fpathconf(root_.get(), _PC_NAME_MAX) : -1;
  return size > 0 ? std::min(static_cast<size_t>(size), kMaxComponentSize) : kMaxComponentSize;
}

// Each step is relative to the one before and follows no link, so that nothing in the folder can
// lead elsewhere.
absl::StatusOr<UniqueFd> RestoreFolder::OpenParent(absl::string_view path, Missing missing) const {
  UniqueFd folder(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
  if (!folder.valid()) return absl::ErrnoToStatus(errno, "cannot use the folder");
  const absl::string_view parents = SplitLast(path).first;
  if (parents.empty()) return folder;
  for (const std::string& component : std::vector<std::string>(absl::StrSplit(parents, '/'))) {
    if (missing == Missing::kMake && ::mkdirat(folder.get(), component.c_str(), kFolderMode) != 0 &&
        errno != EEXIST) {
      return ErrorAt("cannot make the folder", component);
    }
    UniqueFd next(
        ::openat(folder.get(), component.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid() && (errno == ENOTDIR || errno == ELOOP)) {
      return absl::AlreadyExistsError(
          absl::StrCat(NameToText(component), " is there and is no folder"));
    }
    if (!next.valid()) return ErrorAt("cannot open the folder", component);
    folder = std::move(next);
  }
  return folder;
}

absl::StatusOr<bool> RestoreFolder::Fits(absl::string_view path) const {
  if (!root_.valid()) return true;
  const absl::StatusOr<UniqueFd> parent = OpenParent(path, Missing::kLeave);
  if (absl::IsNotFound(parent.status())) return true;
  if (absl::IsAlreadyExists(parent.status())) return false;
  RETURN_IF_ERROR(parent.status());
  const std::string name(SplitLast(path).second);
  struct stat info;
  if (::fstatat(parent->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return true;
  return S_ISREG(info.st_mode) || S_ISLNK(info.st_mode);
}

absl::StatusOr<RestoreFolder::Found> RestoreFolder::Compare(absl::string_view path,
                                                            const v1::FileVersion& version,
                                                            const Interrupt& interrupt) const {
  if (!root_.valid()) return Found::kNothing;
  const absl::StatusOr<UniqueFd> parent = OpenParent(path, Missing::kLeave);
  if (absl::IsNotFound(parent.status())) return Found::kNothing;
  RETURN_IF_ERROR(parent.status());
  const std::string name(SplitLast(path).second);
  struct stat info;
  if (::fstatat(parent->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Found::kNothing;
    return ErrorAt("cannot look at", name);
  }
  if (!S_ISREG(info.st_mode) || info.st_size != version.size_bytes()) return Found::kOther;
  const UniqueFd file(
      ::openat(parent->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid() && errno == EACCES) return Found::kUnreadable;
  if (!file.valid()) return ErrorAt("cannot open", name);
  ASSIGN_OR_RETURN(const bool same, HasSha256(file.get(), version.sha256(), interrupt));
  return same ? Found::kSameContent : Found::kOther;
}

absl::Status RestoreFolder::Place(OutputFile& file, absl::string_view path, bool replace,
                                  absl::Time time) const {
  ASSIGN_OR_RETURN(const UniqueFd parent, OpenParent(path, Missing::kMake));
  const std::string name(SplitLast(path).second);
  struct stat info;
  // Where upper and lower case are one, what is there may be another file of this restore.
  if (replace && ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      std::tie(info.st_ctim.tv_sec, info.st_ctim.tv_nsec) >
          std::tie(opened_.tv_sec, opened_.tv_nsec)) {
    return absl::AlreadyExistsError(absl::StrCat(
        NameToText(path),
        " was made or changed since the restore began; is another file's name the same here?"));
  }
  const absl::Status placed = file.Commit(parent.get(), name, replace, time);
  return absl::IsInvalidArgument(placed) ? NameRefused(name) : placed;
}

absl::Status RestoreFolder::Sync() const {
  if (::syncfs(root_.get()) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make the restored files durable");
  }
  return absl::OkStatus();
}

}  // namespace backup::ctl
