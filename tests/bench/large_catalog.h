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
  double resident_mebibytes = 0;  // Of the service, after all of these.
};

// Starts a service on a catalog with `versions` versions and, if the program knows them, `chunks`
// chunks, which is written straight into its database, below the empty folder `dir`.
absl::StatusOr<LargeCatalogResult> MeasureLargeCatalog(const Programs& programs,
                                                       const std::string& dir, int64_t versions,
                                                       int64_t chunks = 0);

// Medians of one lookup each, by this process.
struct ChunkLookupResult {
  double from_disk_milliseconds = 0;
  double from_memory_milliseconds = 0;  // The pages are in the page cache.
  // A version that refers to as many of them as one transaction may: how long others wait for it.
  double known_version_milliseconds = 0;
};

// Looks up random chunks, and adds versions that refer to such, in the catalog that
// MeasureLargeCatalog() left in `dir`.
absl::StatusOr<ChunkLookupResult> MeasureChunkLookups(const std::string& dir, int64_t chunks);

}  // namespace backup::bench
