#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct RepackingResult {
  double mb_per_second = 0;  // Of what was written.
  double written_megabytes = 0;
  double cpu_seconds = 0;
};

// Has a service that does nothing else make large packs of small ones, `size` bytes together, as
// fast as it can. The folder `dir` is empty.
absl::StatusOr<RepackingResult> MeasureRepacking(const Programs& programs, const std::string& dir,
                                                 int64_t size);

}  // namespace backup::bench
