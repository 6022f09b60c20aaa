#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct LargeCatalogResult {
  double seconds_to_ready = 0;  // From the process's start to its first answer.
  // Medians of one call each.
  double get_version_milliseconds = 0;
  double list_files_milliseconds = 0;     // A page of 1000.
  double list_versions_milliseconds = 0;  // A page of 1000.
  double list_clients_milliseconds = 0;   // A page of 1000.
  double get_status_milliseconds = 0;
};

// Starts a service on a catalog with `versions` versions, which is written straight into its
// database, below the empty folder `dir`.
absl::StatusOr<LargeCatalogResult> MeasureLargeCatalog(const Programs& programs,
                                                       const std::string& dir, int64_t versions);

}  // namespace backup::bench
