#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct RestoreResult {
  double median_mb_per_second = 0;  // backupctl as a whole, from its start to its end.
  double client_cpu_seconds = 0;    // Of all runs together, as is the service's.
  double service_cpu_seconds = 0;
  double gibibytes = 0;
};

// Where the service finds what it sends.
enum class StoredWhere { kPageCache, kDisk };

// Has `program`, backupctl, fetch all files of `client` into folders below `dir`, `runs` times;
// they are `size` bytes together.
absl::StatusOr<RestoreResult> MeasureRestore(const ServerPair& servers, const std::string& program,
                                             const std::string& dir, const std::string& client,
                                             int64_t size, int runs, StoredWhere where);

}  // namespace backup::bench
