#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

struct RepackingResult {
  // MB that are read and written, together, and how many in a second,
  double moved_megabytes = 0;
  double mb_per_second = 0;
  // if the same packs are copied, on average right before and right after that,
  double copy_mb_per_second = 0;
  // and if one core did nothing but compare what is read with its ids, the least that must be done.
  double digest_mb_per_second = 0;
  double cpu_seconds = 0;
};

// Has a service that does nothing else make large packs of small ones, `size` bytes together, as
// fast as it can. The folder `dir` is empty.
absl::StatusOr<RepackingResult> MeasureRepacking(const Programs& programs, const std::string& dir,
                                                 int64_t size);

}  // namespace backup::bench
