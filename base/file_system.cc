#include "base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/unique_fd.h"

namespace backup {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kFolderMode = 0700;

// Some file systems say more than can be counted.
int64_t BytesOf(uint64_t blocks, uint64_t block_size) {
  constexpr auto kMost = uint64_t{std::numeric_limits<int64_t>::max()} / 2;
  const bool is_more = block_size > 0 && blocks > kMost / block_size;
  return static_cast<int64_t>(is_more ? kMost : blocks * block_size);
}

// Repeats `call` for as long as a signal ends it.
template <typename Call>
auto Uninterrupted(const Call& call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class RealFile final : public File {
 public:
  RealFile(UniqueFd fd, bool is_direct) : fd_(std::move(fd)), is_direct_(is_direct) {}

  ssize_t ReadAt(int64_t offset, std::span<char> out) const override {
    return Uninterrupted([&] { return ::pread(fd_.get(), out.data(), out.size(), offset); });
  }
  ssize_t WriteAt(int64_t offset, absl::string_view bytes) override {
    return Uninterrupted([&] { return ::pwrite(fd_.get(), bytes.data(), bytes.size(), offset); });
  }
  bool Sync() override { return ::fsync(fd_.get()) == 0; }
  bool SetSize(int64_t size_bytes) override {
    return Uninterrupted([&] { return ::ftruncate(fd_.get(), size_bytes); }) == 0;
  }
  bool Allocate(int64_t size_bytes) override {
    return Uninterrupted([&] { return ::fallocate(fd_.get(), 0, 0, size_bytes); }) == 0;
  }
  bool PunchHole(int64_t offset, int64_t size_bytes) override {
    constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return Uninterrupted([&] { return ::fallocate(fd_.get(), kPunch, offset, size_bytes); }) == 0;
  }
  std::optional<int64_t> SizeBytes() const override {
    struct stat info = {};
    if (::fstat(fd_.get(), &info) != 0) return std::nullopt;
    if (S_ISREG(info.st_mode)) return info.st_size;
    errno = EINVAL;
    return std::nullopt;
  }
  std::optional<DiskSpace> Disk() const override {
    struct statvfs disk = {};
    if (Uninterrupted([&] { return ::fstatvfs(fd_.get(), &disk); }) != 0) return std::nullopt;
    return DiskSpace{BytesOf(disk.f_blocks, disk.f_frsize), BytesOf(disk.f_bavail, disk.f_frsize)};
  }

  bool is_direct() const override { return is_direct_; }
  bool UsePageCache() override {
    const int flags = ::fcntl(fd_.get(), F_GETFL);
    if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT) != 0) return false;
    is_direct_ = false;
    return true;
  }
  int descriptor() const override { return fd_.get(); }

 private:
  const UniqueFd fd_;
  bool is_direct_;
};

class RealFileSystem final : public FileSystem {
 public:
  std::unique_ptr<File> Create(const std::string& path, int flags) override {
    return CreateFileAt(AT_FDCWD, path, flags);
  }
  std::unique_ptr<File> Open(const std::string& path, int flags) override {
    UniqueFd fd(Uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags); }));
    if (!fd.valid()) return nullptr;
    return std::make_unique<RealFile>(std::move(fd), (flags & O_DIRECT) != 0);
  }
  bool Rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0;
  }
  bool RenameToNew(const std::string& from, const std::string& to) override {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
      return true;
    if (errno == ENOSYS) errno = EINVAL;  // So some sandboxes say.
    return false;
  }
  bool Link(const std::string& from, const std::string& to) override {
    return ::link(from.c_str(), to.c_str()) == 0;
  }
  bool Remove(const std::string& path) override { return ::unlink(path.c_str()) == 0; }
  bool MakeFolder(const std::string& path) override {
    return ::mkdir(path.c_str(), kFolderMode) == 0;
  }
  bool List(const std::string& path, const std::function<bool(const Entry&)>& visit) override {
    DIR* const listing = ::opendir(path.c_str());
    if (listing == nullptr) return false;
    const absl::Cleanup close = [&] { ::closedir(listing); };
    while (true) {
      errno = 0;
      const dirent* const found = ::readdir(listing);
      if (found == nullptr) return errno == 0;
      Entry entry = {found->d_name, 0, {}};
      if (entry.name == "." || entry.name == "..") continue;
      struct stat info = {};
      if (::fstatat(::dirfd(listing), found->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return false;
      }
      entry.size_bytes = info.st_size;
      entry.change_time = absl::TimeFromTimespec(info.st_mtim);
      if (!visit(entry)) return true;
    }
  }
  bool SyncFolder(const std::string& path) override {
    const UniqueFd fd(
        Uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    return fd.valid() && ::fsync(fd.get()) == 0;
  }
};

}  // namespace

FileSystem& FileSystem::Real() {
  static FileSystem& file_system = *new RealFileSystem();
  return file_system;
}

std::unique_ptr<File> CreateFileAt(int folder_fd, const std::string& path, int flags) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(
      Uninterrupted([&] { return ::openat(folder_fd, path.c_str(), kFlags | flags, kFileMode); }));
  // EINVAL comes after the file was made on some systems and before it on others.
  if (!fd.valid() && errno == EINVAL && (flags & O_DIRECT) != 0) {
    flags &= ~O_DIRECT;
    fd = UniqueFd(Uninterrupted(
        [&] { return ::openat(folder_fd, path.c_str(), (kFlags & ~O_EXCL) | flags, kFileMode); }));
  }
  if (!fd.valid()) return nullptr;
  return std::make_unique<RealFile>(std::move(fd), (flags & O_DIRECT) != 0);
}

}  // namespace backup
