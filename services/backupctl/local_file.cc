#include "services/backupctl/local_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "crypto/random.h"

namespace backup::ctl {
namespace {

// The file system finds room for smaller files as well when it writes them.
constexpr int64_t kAllocateMinSize = int64_t{1} << 20;

// Zeros become a hole if they fill such a block. Smaller holes would make more extents than they
// save room.
constexpr size_t kHoleSize = size_t{64} << 10;
static_assert(kHoleSize % kBufferAlignment == 0);

constexpr absl::string_view kPartPrefix = ".backupctl-";
constexpr absl::string_view kPartSuffix = ".part";
constexpr size_t kPartIdSize = 8;
// Somebody who removes left-overs may take a new part for one, once.
constexpr int kMaxPartTries = 3;

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

// Removes the part `name` if nobody holds its lock.
bool RemovePart(int folder_fd, const char* name) {
  const UniqueFd fd(::openat(folder_fd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  return fd.valid() && ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) &&
         info.st_uid == ::geteuid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 &&
         ::unlinkat(folder_fd, name, 0) == 0;
}

// Makes a new file and locks it; `name` becomes its name. Null on failure, errno set.
std::unique_ptr<File> MakePart(int folder_fd, std::string& name) {
  for (int attempt = 0; attempt < kMaxPartTries; ++attempt) {
    name = absl::StrCat(kPartPrefix, absl::BytesToHexString(crypto::RandomBytes(kPartIdSize)),
                        kPartSuffix);
    std::unique_ptr<File> file = CreateFileAt(folder_fd, name, O_DIRECT);
    if (file == nullptr) return nullptr;
    const int fd = file->descriptor();
    // Where there are no locks, RemovePart() gets none either and leaves everything.
    const bool seized = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    struct stat info;
    if (!seized && ::fstat(fd, &info) == 0 && info.st_nlink > 0) return file;
    ::unlinkat(folder_fd, name.c_str(), 0);
  }
  errno = EBUSY;
  return nullptr;
}

bool IsZero(absl::string_view block) {
  return block[0] == '\0' && std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
}

// How many bytes at the front of `piece` are whole blocks of zeros (`zero`), or of anything else.
size_t RunSize(absl::string_view piece, bool zero) {
  size_t size = 0;
  while (piece.size() - size >= kHoleSize && IsZero(piece.substr(size, kHoleSize)) == zero)
    size += kHoleSize;
  return size;
}

// renameat() that never replaces. Not every file system knows how (NFS does not); those know links.
int RenameWithoutReplacing(int from_fd, const std::string& from, int to_fd, const std::string& to) {
  if (::renameat2(from_fd, from.c_str(), to_fd, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (::linkat(from_fd, from.c_str(), to_fd, to.c_str(), 0) != 0) return -1;
  if (::unlinkat(from_fd, from.c_str(), 0) == 0) return 0;
  const int error = errno;
  ::unlinkat(to_fd, to.c_str(), 0);
  errno = error;
  return -1;
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
  std::string name;
  std::unique_ptr<File> file = MakePart(folder.get(), name);
  if (file == nullptr) return absl::ErrnoToStatus(errno, "cannot make a file in the folder");
  std::unique_ptr<OutputFile> output(new OutputFile(std::move(folder), std::move(file), name));
  // Without room for all of it there may still be room for what is not a hole.
  if (expected_size >= kAllocateMinSize && !output->file_.Allocate(expected_size) &&
      errno != ENOSPC && errno != EDQUOT && errno != EFBIG) {
    return absl::ErrnoToStatus(errno, "cannot make room for the file");
  }
  return output;
}

OutputFile::~OutputFile() {
  if (!part_name_.empty()) ::unlinkat(folder_.get(), part_name_.c_str(), 0);
}

absl::Status OutputFile::Write(absl::string_view piece) {
  while (!piece.empty()) {
    // Holes begin on whole blocks; pieces of large files do so too.
    const bool aligned = size_bytes_ % kHoleSize == 0;
    const size_t hole = aligned ? RunSize(piece, /*zero=*/true) : 0;
    size_t data = 0;
    if (hole == 0) {
      const size_t to_block = kHoleSize - static_cast<size_t>(size_bytes_) % kHoleSize;
      data = aligned ? RunSize(piece, /*zero=*/false) : std::min(to_block, piece.size());
      if (data == 0) data = piece.size();
    }
    const bool written =
        hole > 0 ? file_.Skip(static_cast<int64_t>(hole)) : file_.Write(piece.substr(0, data));
    if (!written) return absl::ErrnoToStatus(errno, "cannot write the file");
    size_bytes_ += static_cast<int64_t>(hole + data);
    piece.remove_prefix(hole + data);
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Sync() {
  if (!file_.Flush() || !file_.Sync()) return absl::ErrnoToStatus(errno, "cannot write the file");
  return absl::OkStatus();
}

absl::Status OutputFile::Commit(int folder_fd, const std::string& name, bool replace,
                                absl::Time time) {
  const Occupant occupant = OccupantOf(folder_fd, name);
  if (occupant == Occupant::kOther || (occupant == Occupant::kReplaceable && !replace)) {
    return Taken(name);
  }
  if (!file_.Flush()) return absl::ErrnoToStatus(errno, "cannot write the file");
  // Where the file system refuses the time, the content is no worse.
  const std::array<timespec, 2> times = {timespec{0, UTIME_OMIT}, absl::ToTimespec(time)};
  static_cast<void>(::futimens(fd_, times.data()));
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

bool IsPartName(absl::string_view name) {
  return absl::ConsumePrefix(&name, kPartPrefix) && absl::ConsumeSuffix(&name, kPartSuffix) &&
         name.size() == 2 * kPartIdSize && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

int RemoveLeftOverParts(int folder_fd) {
  const int fd = ::openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const folder = fd < 0 ? nullptr : ::fdopendir(fd);
  if (folder == nullptr) {
    if (fd >= 0) ::close(fd);
    return 0;
  }
  int removed = 0;
  while (const dirent* const entry = ::readdir(folder)) {
    if (IsPartName(entry->d_name) && RemovePart(fd, entry->d_name)) ++removed;
  }
  ::closedir(folder);
  return removed;
}

void MakeFilesPrivate() { ::umask(S_IRWXG | S_IRWXO); }

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
