#pragma once

#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "services/backupctl/local_file.h"

namespace backup::ctl {

// A folder that files with names from outside are put in. Nothing outside it is ever touched,
// whatever the names say and whatever links are in it. Used by one thread at a time.
class RestoreFolder {
 public:
  // Makes the folder if it is not there. AlreadyExists if it is not empty, unless `force`, which
  // also allows files that were there before to be replaced.
  static absl::StatusOr<RestoreFolder> Open(const std::string& path, bool force);

  // A file that will have `size_bytes` bytes.
  absl::StatusOr<std::unique_ptr<OutputFile>> NewFile(int64_t size_bytes) const {
    return OutputFile::Create(root_.get(), size_bytes);
  }
  // Puts a finished file where `name`, any bytes but not none, says; returns its path below the
  // folder. A place that is taken is never taken twice: the next best is found.
  absl::StatusOr<std::string> Place(OutputFile& file, absl::string_view name);
  // Makes all that was placed durable.
  absl::Status Sync() const;

 private:
  RestoreFolder(UniqueFd root, bool force) : root_(std::move(root)), force_(force) {}

  absl::StatusOr<UniqueFd> OpenParent(absl::string_view path) const;
  absl::Status TryPlace(OutputFile& file, const std::string& path);

  UniqueFd root_;
  bool force_;
  std::set<std::string> placed_;  // By this process; never replaced.
};

}  // namespace backup::ctl
