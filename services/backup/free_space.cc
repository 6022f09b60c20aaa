#include "services/backup/free_space.h"

#include <sys/statvfs.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace backup {

absl::StatusOr<FreeSpace> LookAt(const std::string& folder) {
  struct statvfs info = {};
  if (::statvfs(folder.c_str(), &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", folder));
  // Some file systems make inodes as they are needed, and say that there are none at all.
  const fsfilcnt_t inodes = info.f_files == 0 ? info.f_bavail : info.f_favail;
  const auto bytes = [&](fsblkcnt_t blocks) {
    return static_cast<int64_t>(blocks) * static_cast<int64_t>(info.f_frsize);
  };
  return FreeSpace{bytes(info.f_blocks), bytes(info.f_bavail), static_cast<int64_t>(inodes),
                   (info.f_flag & ST_RDONLY) != 0};
}

}  // namespace backup
