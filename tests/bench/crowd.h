#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/bench/server_pair.h"
#include "tests/bench/session_load.h"

namespace backup::bench {

struct Resident {
  double service_mebibytes = 0;
  double bridge_mebibytes = 0;
};

struct IdleCrowdResult {
  Resident resident;
  SessionLoadResult alone;   // One client without the others ...
  SessionLoadResult beside;  // ... and beside them.
};

// Holds `connections` open, each of which sends nothing, while one client plays sessions.
absl::StatusOr<IdleCrowdResult> MeasureIdleCrowd(const ServerPair& servers, int connections,
                                                 absl::Duration duration);

struct SlowCrowdResult {
  Resident resident;              // The most that was seen.
  double mb_per_second = 0;       // All together.
  double seconds_to_release = 0;  // Once all had hung up: until no upload was left.
};

// Has `uploads` files of `size` bytes each on their way at once, all of them a little at a time for
// `duration`; then all clients hang up. Fails if something is left of an upload.
absl::StatusOr<SlowCrowdResult> MeasureSlowCrowd(const ServerPair& servers, int uploads,
                                                 int64_t size, absl::Duration duration);

struct FairnessResult {
  SessionLoadResult alone;
  SessionLoadResult beside;
  double large_alone_mb_per_second = 0;
  double large_mb_per_second = 0;  // Beside the sessions.
};

// One client's sessions with a small file, alone and while another sends files of `size` bytes one
// after the other.
absl::StatusOr<FairnessResult> MeasureFairness(const ServerPair& servers, int64_t size,
                                               absl::Duration duration);

}  // namespace backup::bench
