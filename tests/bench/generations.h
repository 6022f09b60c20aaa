#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/bench/other_backups.h"
#include "tests/bench/server_pair.h"

namespace backup::bench {

// One backup of a folder, which is like the one before it but for what changed.
struct GenerationResult {
  int64_t files = 0;
  int64_t bytes = 0;
  BackupCost ours;
  std::map<std::string, BackupCost> others;  // By name.
};

// Backs up the folders of `sources` one after the other, or, if there are none, `count` days of a
// GenerationMaker, by a few old clients at once and by other programs. What is kept is measured
// when the service has nothing left to do: its whole data directory but for what it holds in
// reserve. The folder `dir` is empty.
absl::StatusOr<std::vector<GenerationResult>> MeasureGenerations(
    const Programs& programs, const std::string& dir, const std::vector<std::string>& sources,
    int count);

struct SmallFilesResult {
  int64_t files = 0;
  double seconds = 0;  // Of one old client, one file after the other.
  std::map<std::string, BackupCost> others;
};

// Backs up a source tree of `count` files.
absl::StatusOr<SmallFilesResult> MeasureSmallFiles(const Programs& programs, const std::string& dir,
                                                   int count);

}  // namespace backup::bench
