#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace backup {

// Of a file system, in bytes: how much it can hold, and how much of that anybody may still take.
struct DiskSpace {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

// An open file. What fails returns false, -1, or nothing, and sets errno; EINTR is only
// of a sync. Used by one thread at a time, but for ReadAt(), which any number may call.
class File {
 public:
  File() = default;
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // How many bytes were moved, as of pread() and pwrite(): perhaps fewer than asked for.
  virtual ssize_t ReadAt(int64_t offset, std::span<char> out) const = 0;
  virtual ssize_t WriteAt(int64_t offset, absl::string_view bytes) = 0;
  // What was written is on the medium when this returns true; its name is not (SyncFolder()). After
  // a failure nothing that was written since the last success can be trusted, whatever is tried.
  virtual bool Sync() = 0;
  // As ftruncate().
  virtual bool SetSize(int64_t size_bytes) = 0;
  // Sets space for the first `size_bytes` aside, of which the file then is, if it was shorter.
  // EOPNOTSUPP if the file system cannot.
  virtual bool Allocate(int64_t size_bytes) = 0;
  // Has this part read as zeros, which take no space. EOPNOTSUPP if the file system cannot.
  virtual bool PunchHole(int64_t offset, int64_t size_bytes) = 0;
  // EINVAL if it is no regular file.
  virtual std::optional<int64_t> SizeBytes() const = 0;
  virtual std::optional<DiskSpace> Disk() const = 0;

  // Whether reads and writes bypass the page cache, and must be aligned for that.
  virtual bool is_direct() const { return false; }
  // From now on they do not.
  virtual bool UsePageCache() { return true; }
  // The kernel's, for what only it can do (several operations in flight, advice, locks); -1 if the
  // file is none of the kernel's.
  virtual int descriptor() const { return -1; }
};

// Where what must survive is kept: a seam, behind which tests have a disk that fails and forgets
// (base/testing/fault_file_system.h). What fails returns false or null and sets errno. Thread-safe.
class FileSystem {
 public:
  struct Entry {
    std::string name;
    int64_t size_bytes = 0;
    absl::Time change_time;  // Of the bytes.
  };

  // This machine's; never destroyed.
  static FileSystem& Real();

  virtual ~FileSystem() = default;

  // Makes a file to be written, for its owner only, where nothing may be yet. `flags`: O_DIRECT, if
  // the page cache is to be bypassed as far as the file system can, or 0.
  virtual std::unique_ptr<File> Create(const std::string& path, int flags) = 0;
  // Opens a file to be read. `flags`: O_DIRECT (EINVAL if the file system cannot), O_NOFOLLOW.
  virtual std::unique_ptr<File> Open(const std::string& path, int flags) = 0;
  // In place of what is there.
  virtual bool Rename(const std::string& from, const std::string& to) = 0;
  // Where nothing may be yet: EEXIST. EINVAL where the file system cannot tell, as NFS.
  virtual bool RenameToNew(const std::string& from, const std::string& to) = 0;
  // A second name, where nothing may be yet: EEXIST.
  virtual bool Link(const std::string& from, const std::string& to) = 0;
  // Of a file. Needs no descriptor.
  virtual bool Remove(const std::string& path) = 0;
  // For its owner only.
  virtual bool MakeFolder(const std::string& path) = 0;
  // Calls `visit` for whatever is in a folder, but for what goes away meanwhile, until it returns
  // false. It may remove what it is told of.
  virtual bool List(const std::string& path, const std::function<bool(const Entry&)>& visit) = 0;
  // Which names are in the folder, and of which files, is on the medium when this returns true.
  virtual bool SyncFolder(const std::string& path) = 0;

 protected:
  FileSystem() = default;
};

// As FileSystem::Real().Create(), with a path that is relative to the folder that `folder_fd` is
// open on, or AT_FDCWD.
std::unique_ptr<File> CreateFileAt(int folder_fd, const std::string& path, int flags);

}  // namespace backup
