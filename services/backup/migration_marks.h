#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace backup {

// Two files of data directories say that an installation is on its way (docs/storage.md): one of
// the directory that it comes to, until it is whole there, and one of that which it came from, for
// ever. No service starts with either.

inline constexpr char kMigrationMarkName[] = "migration";
inline constexpr char kMovedMarkName[] = "moved";

// Of the directory that it comes to.
struct MigrationMark {
  std::string id;         // 32 hex digits, at random: of this migration.
  std::string from;       // The data directory that it comes from.
  std::string conninfo;   // Of a catalog in PostgreSQL; else empty.
  std::string blobs_url;  // Of blobs in an object store; else empty.

  bool operator==(const MigrationMark&) const = default;
};

// Nothing if there is none; FailedPrecondition if it cannot be told.
absl::StatusOr<std::optional<MigrationMark>> FindMigrationMark(const std::string& data_dir);
// Each durable if OK.
absl::Status WriteMigrationMark(const std::string& data_dir, const MigrationMark& mark);
absl::Status RemoveMigrationMark(const std::string& data_dir);

// Of the directory that it came from: the migration's id, and where it went, for people.
struct MovedMark {
  std::string id;
  std::string to;
};
absl::StatusOr<std::optional<MovedMark>> FindMovedMark(const std::string& data_dir);
absl::Status WriteMovedMark(const std::string& data_dir, const MovedMark& mark);
absl::Status RemoveMovedMark(const std::string& data_dir);

// FailedPrecondition, saying what to do, if either is there.
absl::Status CheckIsNotMigrated(const std::string& data_dir);

}  // namespace backup
