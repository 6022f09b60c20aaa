#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/bench/server_pair.h"

// What the service does by itself: retention, scrubbing, snapshots of its state.
namespace backup::bench {

struct RetentionResult {
  double preview_seconds = 0;         // Of all versions.
  double preview_more_mebibytes = 0;  // Of the service's memory, at most, while it is asked.
  // Versions a second, and the service's time on all cores for each, of: putting into the trash, as
  // the job does as a rule; removing for good what is there; and the job without a trash.
  double trashed_per_second = 0;
  double trashed_cpu_microseconds = 0;
  double purged_per_second = 0;
  double purged_cpu_microseconds = 0;
  double removed_per_second = 0;
  double removed_cpu_microseconds = 0;
  // Medians of pairs in turn: sessions of many clients, and what went to the trash beside them.
  double sessions_alone_per_second = 0;
  double sessions_beside_per_second = 0;
  double trashed_beside_per_second = 0;
};

// Of `versions` versions (FillWithDailyVersions) of which a policy keeps the newest of each file,
// with `clients` clients for `duration` beside it, `runs` times. The folder `dir` is empty.
absl::StatusOr<RetentionResult> MeasureRetention(const Programs& programs, const std::string& dir,
                                                 int64_t versions, int clients,
                                                 absl::Duration duration, int runs);

struct ScrubResult {
  double mb_per_second = 0;       // Of all that is stored, median of all cycles,
  double read_mb_per_second = 0;  // of plain reads of the same files, in turn with them,
  // and of one core that does nothing but compare what is read with its ids.
  double digest_mb_per_second = 0;
  double cpu_seconds_per_gibibyte = 0;
};

// Reads `size` bytes of packs `runs` times, as fast as it can. The folder `dir` is empty.
absl::StatusOr<ScrubResult> MeasureScrub(const Programs& programs, const std::string& dir,
                                         int64_t size, int runs);

struct SnapshotResult {
  double catalog_mebibytes = 0;
  // Of one request of many clients, alone and while a snapshot is taken: medians of pairs in turn.
  double alone_p99_milliseconds = 0;
  double beside_p99_milliseconds = 0;
  double alone_per_second = 0;  // Sessions.
  double beside_per_second = 0;
};

// Of a catalog of about `size` bytes, with `clients` clients for `duration`, `runs` times. The
// folder `dir` is empty.
absl::StatusOr<SnapshotResult> MeasureSnapshot(const Programs& programs, const std::string& dir,
                                               int64_t size, int clients, absl::Duration duration,
                                               int runs);

}  // namespace backup::bench
