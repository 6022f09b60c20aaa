#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct SessionLoadResult {
  int64_t sessions = 0;
  double sessions_per_second = 0;
  double p50_milliseconds = 0;  // Of one request.
  double p99_milliseconds = 0;
  ServerCpu cpu;
  double client_cpu_seconds = 0;
};

// Plays whole sessions of `clients` clients at once for `duration`: register, key, a file of 1 KiB,
// acknowledgement, each request on a connection of its own as the old clients do. One thread does
// it, so that it is cheap. Fails at the first session that goes wrong.
absl::StatusOr<SessionLoadResult> MeasureSessionLoad(const ServerPair& servers, int clients,
                                                     absl::Duration duration);

}  // namespace backup::bench
