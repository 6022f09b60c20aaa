#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/catalog/version.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// A version's row, as far as it tells what the version counts for.
struct CountedVersion {
  int64_t version_id = 0;
  int64_t file_id = 0;
  std::string client_id;
  VersionState state = VersionState::kReceived;
  int64_t size_bytes = 0;
  int64_t kept_bytes = 0;
};

// Puts many versions into the trash, and counts them at the end: for each file and client once. The
// schema's triggers, which count each version for its file, its client and the whole, take twice as
// long as its row and indexes. Used within one transaction.
class TrashTally {
 public:
  TrashTally(Database& database, absl::Time delete_time)
      : database_(database), delete_time_(delete_time) {}

  // Puts a version that is not in the trash there. It is not counted before Count().
  absl::Status Trash(const CountedVersion& version);
  // Counts what was put there since the last call. To be called before anything reads the counts.
  absl::Status Count();

 private:
  struct ClientChange {
    int64_t versions = 0;
    int64_t verified_versions = 0;
    int64_t abandoned_versions = 0;
    int64_t stored_bytes = 0;
    int64_t kept_bytes = 0;
  };

  absl::Status CountFiles();
  absl::Status CountClients();

  Database& database_;
  const absl::Time delete_time_;
  absl::flat_hash_map<int64_t, int64_t> versions_of_files_;
  absl::flat_hash_map<std::string, ClientChange> clients_;
};

}  // namespace backup::storage
