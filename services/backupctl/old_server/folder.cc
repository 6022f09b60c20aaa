#include "services/backupctl/old_server/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace backup::ctl::old_server {
namespace {

constexpr char kUploadedFiles[] = "uploaded_files";
constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// A path's components, of what lies in the folder of uploads if it names that.
std::vector<std::string> ComponentsOf(absl::string_view written, absl::string_view separators) {
  std::vector<std::string> components;
  for (const absl::string_view component : absl::StrSplit(written, absl::ByAnyChar(separators))) {
    if (component.empty() || component == ".") continue;
    components.emplace_back(component);
  }
  for (size_t i = components.size(); i-- > 0;) {
    const bool is_folder_of_uploads = components[i] == kUploadedFiles && i + 1 < components.size();
    if (!is_folder_of_uploads && components[i] != "..") continue;
    components.erase(components.begin(), components.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    break;
  }
  return components;
}

// Why what is at `name` is no file to be taken over; OK if it is.
absl::Status CheckRegular(int folder_fd, const std::string& name) {
  struct stat info = {};
  if (::fstatat(folder_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return absl::NotFoundError("is not in the folder");
    return absl::FailedPreconditionError(
        absl::StrCat("cannot be looked at: ", std::strerror(errno)));
  }
  if (S_ISREG(info.st_mode)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      S_ISLNK(info.st_mode) ? "is a symbolic link, which is not followed" : "is no regular file");
}

}  // namespace

absl::Status StoredFile::ReadAt(int64_t offset, std::span<char> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(fd_.get(), out.data(), out.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      return absl::FailedPreconditionError(absl::StrCat("cannot be read: ", std::strerror(errno)));
    if (count == 0) return absl::FailedPreconditionError("became shorter while it was read");
    out = out.subspan(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

absl::StatusOr<Folder> Folder::Open(const std::string& path, const std::string& database) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid())
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the folder ", path));
  UniqueFd uploads(::openat(root.get(), kUploadedFiles, kFolderFlags));
  const int why_not = errno;
  struct stat info = {};
  const bool is_link = ::fstatat(root.get(), kUploadedFiles, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                       S_ISLNK(info.st_mode);
  if (!uploads.valid() && (is_link || (why_not != ENOENT && why_not != ENOTDIR))) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot open ", kUploadedFiles, " in ", path, " (",
        is_link ? "a symbolic link, which is not followed" : std::strerror(why_not), "): give ",
        is_link ? "the folder that it leads to" : "that folder itself", " as --files"));
  }
  return Folder(uploads.valid() ? std::move(uploads) : std::move(root), database);
}

UniqueFd Folder::OpenFolder(const std::vector<std::string>& components) const {
  UniqueFd folder(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
  for (const std::string& component : components) {
    if (!folder.valid()) break;
    folder = UniqueFd(::openat(folder.get(), component.c_str(), kFolderFlags));
  }
  return folder;
}

absl::StatusOr<std::string> Folder::Find(absl::string_view written) const {
  // A name from Windows may have backslashes in it where the old server ran on Linux.
  absl::Status why = absl::NotFoundError("is not in the folder");
  for (const absl::string_view separators : {"/", "/\\"}) {
    std::vector<std::string> components = ComponentsOf(written, separators);
    // What the old server's own folder was called is not here.
    for (; !components.empty(); components.erase(components.begin())) {
      const UniqueFd parent = OpenFolder({components.begin(), components.end() - 1});
      if (!parent.valid()) continue;
      const absl::Status regular = CheckRegular(parent.get(), components.back());
      if (regular.ok()) return absl::StrJoin(components, "/");
      if (!absl::IsNotFound(regular)) why = regular;
      break;
    }
  }
  return why;
}

bool Folder::IsDatabase(int folder_fd, const std::string& name) const {
  const std::string own = std::filesystem::path(database_).filename();
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, own)) return false;
  if (!rest.empty() && rest != "-journal" && rest != "-wal" && rest != "-shm") return false;
  struct stat here = {};
  struct stat database = {};
  return ::stat(database_.c_str(), &database) == 0 &&
         ::fstatat(folder_fd, own.c_str(), &here, AT_SYMLINK_NOFOLLOW) == 0 &&
         here.st_dev == database.st_dev && here.st_ino == database.st_ino;
}

absl::Status Folder::ListInto(int fd, const std::string& prefix, int depth,
                              std::vector<Entry>& entries) const {
  const int own_fd = ::openat(fd, ".", kFolderFlags);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(own_fd < 0 ? nullptr : ::fdopendir(own_fd),
                                                   ::closedir);
  if (folder == nullptr) {
    entries.push_back({prefix, absl::StrCat("cannot be listed: ", std::strerror(errno))});
    return absl::OkStatus();
  }
  while (const dirent* const found = ::readdir(folder.get())) {
    const std::string name = found->d_name;
    if (name == "." || name == ".." || IsDatabase(fd, name)) continue;
    if (std::ssize(entries) >= kMaxFiles) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the folder has more than ", kMaxFiles, " files"));
    }
    const std::string path = absl::StrCat(prefix, name);
    const UniqueFd inner(::openat(fd, name.c_str(), kFolderFlags));
    if (!inner.valid()) {
      entries.push_back({path, std::string(CheckRegular(fd, name).message())});
    } else if (depth == kMaxDepth) {
      entries.push_back({path, "is too deep"});
    } else {
      RETURN_IF_ERROR(ListInto(inner.get(), absl::StrCat(path, "/"), depth + 1, entries));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Folder::Entry>> Folder::List() const {
  std::vector<Entry> entries;
  RETURN_IF_ERROR(ListInto(root_.get(), "", 1, entries));
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.path < b.path; });
  return entries;
}

absl::StatusOr<std::unique_ptr<StoredFile>> Folder::OpenFile(const std::string& path) const {
  std::vector<std::string> components = absl::StrSplit(path, '/');
  const std::string name = components.back();
  components.pop_back();
  const UniqueFd parent = OpenFolder(components);
  if (!parent.valid()) return absl::NotFoundError("is not in the folder");
  RETURN_IF_ERROR(CheckRegular(parent.get(), name));
  UniqueFd fd(::openat(parent.get(), name.c_str(),
                       O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info = {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0)
    return absl::FailedPreconditionError(absl::StrCat("cannot be read: ", std::strerror(errno)));
  if (!S_ISREG(info.st_mode)) return absl::FailedPreconditionError("is no regular file");
  return std::unique_ptr<StoredFile>(
      new StoredFile(std::move(fd), info.st_size, absl::TimeFromTimespec(info.st_mtim)));
}

}  // namespace backup::ctl::old_server
