#include "services/backupctl/local_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "crypto/random.h"

namespace backup::ctl {
namespace {

// The file system finds room for smaller files as well when it writes them.
constexpr int64_t kAllocateMinSize = int64_t{1} << 20;

absl::Status Taken(absl::string_view name) {
  return absl::AlreadyExistsError(absl::StrCat(name, " is there already: --force replaces a file"));
}

// Whether something is at `name`, and if so whether it may be replaced: a file or a link, never a
// folder or a device.
enum class Occupant { kNone, kReplaceable, kOther };
Occupant OccupantOf(int folder_fd, const std::string& name) {
  struct stat info;
  if (::fstatat(folder_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return Occupant::kNone;
  return S_ISREG(info.st_mode) || S_ISLNK(info.st_mode) ? Occupant::kReplaceable : Occupant::kOther;
}

// renameat() that never replaces. Not every file system knows how (NFS does not); those know links.
int RenameWithoutReplacing(int from_fd, const std::string& from, int to_fd, const std::string& to) {
  if (::renameat2(from_fd, from.c_str(), to_fd, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (::linkat(from_fd, from.c_str(), to_fd, to.c_str(), 0) != 0) return -1;
  return ::unlinkat(from_fd, from.c_str(), 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalFile>> LocalFile::Open(const std::string& path) {
  // O_NONBLOCK: a pipe must be refused, not waited for.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", path));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  return std::unique_ptr<LocalFile>(new LocalFile(std::move(fd), path, info.st_size));
}

absl::Status LocalFile::ReadAt(int64_t offset, std::span<char> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(fd_.get(), out.data(), out.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path_));
    if (count == 0) {
      return absl::InternalError(absl::StrCat(
          path_, " became shorter while it was read: try again when nothing writes to it"));
    }
    out = out.subspan(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Create(int folder_fd,
                                                               int64_t expected_size) {
  UniqueFd folder(::fcntl(folder_fd, F_DUPFD_CLOEXEC, 0));
  if (!folder.valid()) return absl::ErrnoToStatus(errno, "cannot use the folder");
  const std::string name =
      absl::StrCat(".backupctl-", absl::BytesToHexString(crypto::RandomBytes(8)), ".part");
  UniqueFd fd = DirectFile::Create(folder.get(), name);
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "cannot make a file in the folder");
  std::unique_ptr<OutputFile> output(new OutputFile(std::move(folder), std::move(fd), name));
  if (expected_size >= kAllocateMinSize && !output->file_.Allocate(expected_size))
    return absl::ErrnoToStatus(errno, "cannot make room for the file");
  return output;
}

OutputFile::~OutputFile() {
  if (!part_name_.empty()) ::unlinkat(folder_.get(), part_name_.c_str(), 0);
}

absl::Status OutputFile::Write(absl::string_view piece) {
  if (!file_.Write(piece)) return absl::ErrnoToStatus(errno, "cannot write the file");
  return absl::OkStatus();
}

absl::Status OutputFile::Sync() {
  if (!file_.Flush() || !file_.Sync()) return absl::ErrnoToStatus(errno, "cannot write the file");
  return absl::OkStatus();
}

absl::Status OutputFile::Commit(int folder_fd, const std::string& name, bool replace) {
  const Occupant occupant = OccupantOf(folder_fd, name);
  if (occupant == Occupant::kOther || (occupant == Occupant::kReplaceable && !replace)) {
    return Taken(name);
  }
  if (!file_.Flush()) return absl::ErrnoToStatus(errno, "cannot write the file");
  const int result = replace
                         ? ::renameat(folder_.get(), part_name_.c_str(), folder_fd, name.c_str())
                         : RenameWithoutReplacing(folder_.get(), part_name_, folder_fd, name);
  if (result != 0) {
    if (errno == EEXIST || errno == EISDIR) return Taken(name);
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", name));
  }
  part_name_.clear();
  return absl::OkStatus();
}

absl::StatusOr<FilePlace> FindPlace(const std::string& path, const std::string& default_name,
                                    bool replace) {
  std::filesystem::path target = path.empty() ? default_name : path;
  std::error_code error;
  if (!target.has_filename() || std::filesystem::is_directory(target, error))
    target /= default_name;
  const std::string folder = target.has_parent_path() ? target.parent_path().string() : ".";
  FilePlace place;
  place.name = target.filename().string();
  place.path = target.string();
  place.folder = UniqueFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!place.folder.valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the folder ", folder));
  }
  const Occupant occupant = OccupantOf(place.folder.get(), place.name);
  if (occupant == Occupant::kOther) {
    return absl::AlreadyExistsError(absl::StrCat(place.path, " is not a regular file"));
  }
  if (occupant == Occupant::kReplaceable && !replace) return Taken(place.path);
  return place;
}

}  // namespace backup::ctl
