#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct PreparedLoadResult {
  double median_mb_per_second = 0;  // All clients together, from the first byte to the last answer.
  double best_mb_per_second = 0;
  ServerCpu cpu;  // Of all runs together, as is the clients'.
  double client_cpu_seconds = 0;
  double gibibytes = 0;
  double written_megabytes = 0;  // By the service.
};

// Whether the server has got what is sent before.
enum class Known { kNo, kYes };

// Has `clients` at once send a file of `size` bytes each, a multiple of 1 MiB, whose ciphertext was
// prepared; `runs` times. Nothing of it stays.
absl::StatusOr<PreparedLoadResult> MeasurePreparedLoad(const ServerPair& servers, int clients,
                                                       int64_t size, int runs,
                                                       Known known = Known::kNo);

}  // namespace backup::bench
