#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace backup {

// The file system that a folder is on.
struct FreeSpace {
  int64_t disk_bytes = 0;  // All of it.
  int64_t free_bytes = 0;  // For those who are not root, as is:
  int64_t free_inodes = 0;
  bool read_only = false;
};
absl::StatusOr<FreeSpace> LookAt(const std::string& folder);

}  // namespace backup
