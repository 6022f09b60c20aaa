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
  // Medians of all runs: sessions of many clients, without and beside it, and what went to the
  // trash meanwhile.
  double sessions_alone_per_second = 0;
  double sessions_beside_per_second = 0;
  double trashed_beside_per_second = 0;
};

// Of `versions` versions (FillWithDailyVersions) of which a policy keeps the newest of each file.
// Each figure is of a catalog to which nothing was done before, and begins when its check at the
// start is over. `clients` clients play for `duration`, `runs` times. Fails if all is done before
// it is measured. The folder `dir` is empty.
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
  double mebibytes = 0;  // Of the snapshot.
  double seconds = 0;    // Until it was taken.
  // Of one request of many clients, before and after and while a snapshot is taken: medians of
  // several loads, and the worst of them.
  double alone_p99_milliseconds = 0;
  double beside_p99_milliseconds = 0;
  double worst_p99_milliseconds = 0;
  double alone_per_second = 0;  // Sessions.
  double beside_per_second = 0;
};

// Of a catalog of `size` bytes and some, with `clients` clients from before it is taken until
// after: loads of `duration` each, `runs` before, as many after, and between them until it is
// taken. The folder `dir` is empty.
absl::StatusOr<SnapshotResult> MeasureSnapshot(const Programs& programs, const std::string& dir,
                                               int64_t size, int clients, absl::Duration duration,
                                               int runs);

}  // namespace backup::bench
