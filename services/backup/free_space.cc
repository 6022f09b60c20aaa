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
  return FreeSpace{static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize),
                   (info.f_flag & ST_RDONLY) != 0};
}

}  // namespace backup
