#include "tests/bench/throttled_disk.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::bench {
namespace {

constexpr char kCgroup2[] = "/sys/fs/cgroup";
constexpr char kCgroup1[] = "/sys/fs/cgroup/blkio";

absl::Status Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (file.good()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the disk cannot be throttled here: cannot write '", text, "' to ", path));
}

// MAJOR:MINOR of the whole disk that `path` is on, as limits are given for.
absl::StatusOr<std::string> DiskOf(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return absl::ErrnoToStatus(errno, path);
  const std::string device = absl::StrCat(major(info.st_dev), ":", minor(info.st_dev));
  std::error_code error;
  std::filesystem::path entry =
      std::filesystem::canonical(absl::StrCat("/sys/dev/block/", device), error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("the disk cannot be throttled here: ", path, " is on no block device"));
  }
  if (std::filesystem::exists(entry / "partition")) entry = entry.parent_path();
  std::string disk;
  std::getline(std::ifstream(entry / "dev"), disk);
  return disk;
}

// Whether cgroup 2 has the controller, which is handed to new groups then.
bool HasIoController() {
  std::stringstream controllers;
  controllers << std::ifstream(absl::StrCat(kCgroup2, "/cgroup.controllers")).rdbuf();
  return absl::StrContains(absl::StrCat(" ", controllers.str()), " io") &&
         Write(absl::StrCat(kCgroup2, "/cgroup.subtree_control"), "+io").ok();
}

absl::Status SetLimits(const std::string& group, bool is_cgroup2, const std::string& disk,
                       int64_t bytes_per_second) {
  if (is_cgroup2) {
    return Write(absl::StrCat(group, "/io.max"),
                 absl::StrCat(disk, " rbps=", bytes_per_second, " wbps=", bytes_per_second));
  }
  const std::string limit = absl::StrCat(disk, " ", bytes_per_second);
  RETURN_IF_ERROR(Write(absl::StrCat(group, "/blkio.throttle.read_bps_device"), limit));
  return Write(absl::StrCat(group, "/blkio.throttle.write_bps_device"), limit);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ThrottledDisk>> ThrottledDisk::Make(const std::string& path,
                                                                   int mb_per_second) {
  ASSIGN_OR_RETURN(const std::string disk, DiskOf(path));
  const bool is_cgroup2 = HasIoController();
  const std::string parent = is_cgroup2 ? kCgroup2 : kCgroup1;
  const std::string group = absl::StrCat(parent, "/backup-bench.", ::getpid());
  std::error_code error;
  if (!std::filesystem::create_directory(group, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the disk cannot be throttled here: cannot make ", group,
                     ": it takes root and the controller io of cgroup 2, or blkio of cgroup 1"));
  }
  auto throttled = absl::WrapUnique(new ThrottledDisk(parent, group));
  RETURN_IF_ERROR(SetLimits(group, is_cgroup2, disk, int64_t{mb_per_second} * 1'000'000));
  RETURN_IF_ERROR(Write(absl::StrCat(group, "/cgroup.procs"), absl::StrCat(::getpid())));
  return throttled;
}

ThrottledDisk::~ThrottledDisk() {
  Write(absl::StrCat(parent_, "/cgroup.procs"), absl::StrCat(::getpid())).IgnoreError();
  ::rmdir(group_.c_str());
}

}  // namespace backup::bench
