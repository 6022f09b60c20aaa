#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct BareEchoResult {
  int64_t sessions = 0;
  double sessions_per_second = 0;
  ServerCpu cpu;  // Of what stands for the service and the bridge.
  double client_cpu_seconds = 0;
};

// What whole sessions would be if there were nothing but the messages and the rows: as many calls
// of as many bytes go through two processes over gRPC, and the second one writes the same rows,
// many callers' in one commit. `clients` sessions are under way at once, for `duration`. Makes its
// catalog in the empty folder `dir`.
absl::StatusOr<BareEchoResult> MeasureBareEcho(const Programs& programs, const std::string& dir,
                                               int clients, absl::Duration duration);

}  // namespace backup::bench
