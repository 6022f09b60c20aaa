#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace backup::bench {

// What a backup of a folder took.
struct BackupCost {
  double seconds = 0;
  int64_t kept_bytes = 0;  // Of this backup and all before: what the repository takes.
};

// What all regular files below `path` take on the disk, but for those below `except`.
int64_t BytesOnDisk(const std::string& path, const std::string& except = "");

// Another program that keeps backups, each the difference to those before. Used by one thread at a
// time.
class OtherBackup {
 public:
  virtual ~OtherBackup() = default;

  const std::string& name() const { return name_; }
  // Backs up the folder `dir`.
  virtual absl::StatusOr<BackupCost> BackUp(const std::string& dir) = 0;

 protected:
  explicit OtherBackup(std::string name) : name_(std::move(name)) {}

 private:
  const std::string name_;
};

// Those of restic and borg that are installed, as Debian has them, each with a new repository below
// `dir`.
absl::StatusOr<std::vector<std::unique_ptr<OtherBackup>>> StartOtherBackups(const std::string& dir);

}  // namespace backup::bench
