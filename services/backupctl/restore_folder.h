#pragma once

#include <ctime>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "backup/v1/types.pb.h"
#include "base/unique_fd.h"
#include "services/backupctl/interrupt.h"
#include "services/backupctl/local_file.h"

namespace backup::ctl {

// A folder that files with names from outside are put in. Nothing outside it is ever touched,
// whatever the names say and whatever links are in it. Paths are relative to it, and those of
// SafePaths() or NumberedPath(). Thread-safe.
class RestoreFolder {
 public:
  // Makes the folder if it is not there, and removes what a restore that was killed left of files.
  static absl::StatusOr<RestoreFolder> Open(const std::string& path);
  // To see what would become of files. A folder that is not there is taken for an empty one.
  static absl::StatusOr<RestoreFolder> OpenToLook(const std::string& path);

  // Longest name of a file in it, in bytes.
  size_t max_component_size() const;
  // How many left-over parts of files Open() removed.
  int removed_parts() const { return removed_parts_; }

  // Whether a file can be at `path`: no folder or device is there, and nothing else where its
  // folders have to be.
  absl::StatusOr<bool> Fits(absl::string_view path) const;

  // What is at `path`.
  enum class Found { kNothing, kSameContent, kOther, kUnreadable };
  // Reads what is there if it has `version`'s size; kUnreadable if that is not permitted. Cancelled
  // by `interrupt`.
  absl::StatusOr<Found> Compare(absl::string_view path, const v1::FileVersion& version,
                                const Interrupt& interrupt) const;

  // A file that will have `size_bytes` bytes.
  absl::StatusOr<std::unique_ptr<OutputFile>> NewFile(int64_t size_bytes) const {
    return OutputFile::Create(root_.get(), size_bytes);
  }
  // Puts a finished file at `path`, as changed at `time`. AlreadyExists if something is there;
  // `replace` allows it to be replaced if it was there, as it is, before this folder was opened.
  absl::Status Place(OutputFile& file, absl::string_view path, bool replace, absl::Time time) const;
  // Makes all that was placed durable.
  absl::Status Sync() const;

 private:
  enum class Missing { kMake, kLeave };

  explicit RestoreFolder(UniqueFd root) : root_(std::move(root)) {}

  // Opens the folder that `path`'s last component goes in. NotFound if it is not there and not to
  // be made; AlreadyExists if something that is no folder is in the way.
  absl::StatusOr<UniqueFd> OpenParent(absl::string_view path, Missing missing) const;
  absl::Status NoteTime();

  UniqueFd root_;  // Not valid: there is no such folder.
  int removed_parts_ = 0;
  timespec opened_ = {};  // By the clock of the file system.
};

}  // namespace backup::ctl
