#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

// Whom the file is sent as.
inline constexpr char kLargeFileClient[] = "bench large file";

struct LargeFileResult {
  double best_mb_per_second = 0;
  double median_mb_per_second = 0;
  ServerCpu cpu;  // Of all runs together, as is the client's.
  double client_cpu_seconds = 0;
  double gibibytes = 0;
};

// Sends a file of `size` bytes `runs` times by the real client, from the folder `dir`; the clock
// runs from before the file's connection until its checksum is acknowledged.
absl::StatusOr<LargeFileResult> MeasureLargeFile(const ServerPair& servers,
                                                 const std::string& client_program,
                                                 const std::string& dir, int64_t size, int runs);

}  // namespace backup::bench
