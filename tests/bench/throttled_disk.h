#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace backup::bench {

// A disk that is slow on purpose, so that figures do not depend on what the machine's disk does at
// this hour: a control group of this process, and of all that it starts afterwards. Used by one
// thread.
class ThrottledDisk {
 public:
  // Reads and writes of the disk that `path` is on are limited to so many megabytes a second each,
  // by cgroup 2 (io.max) or cgroup 1 (blkio.throttle, which knows direct writes and syncs only).
  // FailedPrecondition, and what is missing, where that cannot be: it takes root, one of these
  // controllers, and a file system on a block device of its own.
  static absl::StatusOr<std::unique_ptr<ThrottledDisk>> Make(const std::string& path,
                                                             int mb_per_second);
  // Back into the root group. Everything that was started must have ended.
  ~ThrottledDisk();
  ThrottledDisk(const ThrottledDisk&) = delete;
  ThrottledDisk& operator=(const ThrottledDisk&) = delete;

 private:
  ThrottledDisk(std::string parent, std::string group)
      : parent_(std::move(parent)), group_(std::move(group)) {}

  const std::string parent_;
  const std::string group_;
};

}  // namespace backup::bench
