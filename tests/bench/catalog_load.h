#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/bench/server_pair.h"

// Sessions of old clients on a catalog in SQLite and on one in PostgreSQL.
namespace backup::bench {

struct CatalogLoadResult {
  // Medians of all runs.
  double sqlite_per_second = 0;
  double postgres_per_second = 0;
  // Of all runs: the service's time on all cores for a session.
  double sqlite_cpu_milliseconds = 0;
  double postgres_cpu_milliseconds = 0;
  // That PostgreSQL's processes take for one, and what it counts.
  double server_cpu_milliseconds = 0;
  double transactions_per_session = 0;
};

// `clients` clients play for `duration`, in turn on one and the other catalog, `runs` times; both
// on the disk that the folder `dir` is on, as durable as they are by themselves. Nothing if
// PostgreSQL is not installed. It runs as the user postgres if this process is root's, and needs
// all folders above `dir` to be open to it.
absl::StatusOr<std::optional<CatalogLoadResult>> MeasureCatalogLoad(const Programs& programs,
                                                                    const std::string& dir,
                                                                    int clients,
                                                                    absl::Duration duration,
                                                                    int runs);

}  // namespace backup::bench
