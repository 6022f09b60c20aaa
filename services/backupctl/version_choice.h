#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/types.pb.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/glob.h"

namespace backup::ctl {

// The moment that `text` means: RFC 3339, or `YYYY-MM-DD`, `YYYY-MM-DD HH:MM`, `YYYY-MM-DD
// HH:MM:SS` in the time zone `local`; a day alone is its beginning. InvalidArgument.
absl::StatusOr<absl::Time> ParseMoment(absl::string_view text, absl::TimeZone local);

// Which versions of a client's files are meant.
struct VersionChoice {
  std::vector<Glob> files;          // Of files that one of these fits; of all if there is none.
  std::optional<absl::Time> as_of;  // The newest one that was verified by then; else of all.
  int64_t version_id = 0;           // Unless 0: this one, of the one file that is meant.
};

// The newest version of the file of `version` that is older than it, was verified, by `as_of` if
// that is given, and is not known to be damaged; nothing if there is none.
absl::StatusOr<std::optional<v1::FileVersion>> GoodVersionBefore(Connection& connection,
                                                                 const v1::FileVersion& version,
                                                                 std::optional<absl::Time> as_of);

// Lists what a choice means, in the order of the files' names. Used by one thread at a time.
class ChosenVersions {
 public:
  // `connection` must outlive it.
  ChosenVersions(Connection& connection, std::string client_id, VersionChoice choice);

  // The next version; nothing at the end. InvalidArgument if a version_id is given and not exactly
  // one file is meant.
  absl::StatusOr<std::optional<v1::FileVersion>> Next();

  // GoodVersionBefore() of a version of Next(). Thread-safe.
  absl::StatusOr<std::optional<v1::FileVersion>> GoodVersionBefore(
      const v1::FileVersion& version) const;

  // Files that are meant and have no verified version (by the moment that is given): so far.
  int64_t without_version() const { return without_version_; }
  // The patterns that fit no file: so far.
  std::vector<std::string> IdlePatterns() const;

 private:
  // The next file that is meant; nothing at the end.
  absl::StatusOr<std::optional<v1::File>> NextFile();
  bool IsMeant(const v1::File& file);
  absl::StatusOr<std::optional<v1::FileVersion>> NewestAsOf(const v1::File& file);
  absl::StatusOr<std::optional<v1::FileVersion>> OnlyVersion();

  Connection& connection_;
  const VersionChoice choice_;
  std::vector<bool> fitted_;  // For each pattern, whether it fits a file.
  v1::ListFilesRequest request_;
  v1::ListFilesResponse page_;
  int next_in_page_ = 0;
  bool ended_ = false;  // There is no page after this one.
  int64_t without_version_ = 0;
};

}  // namespace backup::ctl
