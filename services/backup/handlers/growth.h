#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Snapshots of the state that the store has.
struct KeptSnapshots {
  int64_t count = 0;
  int64_t size_bytes = 0;
  std::optional<absl::Time> newest_time;
};

// What the catalog does not know of the disk that the data is on.
struct DiskUse {
  int64_t catalog_bytes = 0;  // Without its log.
  int64_t room_bytes = 0;     // That uploads may still take.
  KeptSnapshots snapshots;
};

// How fast something grew, on the average.
struct Growth {
  absl::Duration window;  // Over which it was asked for,
  // and over which it was measured: less if nothing was noted so long ago, and up to kNoteInterval
  // more, or what the service was not running for.
  absl::Duration period;
  int64_t disk_bytes_per_day = 0;  // As storage::SizeNote; negative if it became less.
  int64_t stored_bytes_per_day = 0;
};

// How often sizes are noted. Snapshot::kMaxSizeNotes of them are more than the longest window.
inline constexpr absl::Duration kNoteInterval = absl::Hours(6);
inline constexpr absl::Duration kGrowthWindows[] = {absl::Hours(24), absl::Hours(7 * 24),
                                                    absl::Hours(30 * 24)};
// By which it is told when the disk is full: a week has every day of what people do.
inline constexpr absl::Duration kForecastWindow = kGrowthWindows[1];
// Nothing is told of less: one night's backup is no growth.
inline constexpr absl::Duration kMinGrowthPeriod = absl::Hours(24);

// What is kept at `now`.
storage::SizeNote SizesAt(absl::Time now, const storage::Counts& counts, const DiskUse& disk);

// Notes what is kept if the last note is older than kNoteInterval, or is of the future. `now` must
// be trusted (retention::ClockWatch): notes of a later time are taken for wrong and go. `look` is
// called if it is to be noted.
absl::Status NoteSizes(storage::Catalog& catalog, absl::Time now,
                       const std::function<DiskUse()>& look);

// Growth from `notes`, oldest first, until `now`, for each of kGrowthWindows; nothing while all
// notes are younger than kMinGrowthPeriod.
std::vector<Growth> MeasureGrowth(const std::vector<storage::SizeNote>& notes,
                                  const storage::SizeNote& now);

// How long the room lasts if the disk fills as in kForecastWindow. Nothing if that is not known, or
// it does not fill.
std::optional<absl::Duration> TimeUntilFull(const std::vector<Growth>& growth, int64_t room_bytes);

// The same of a catalog.
struct Forecast {
  std::vector<Growth> growth;
  std::optional<absl::Duration> until_full;
};
// While the time is not trusted what was noted last counts, not `now`.
absl::StatusOr<Forecast> ForecastGrowth(storage::Snapshot& snapshot, absl::Time now,
                                        const storage::Counts& counts, const DiskUse& disk);

}  // namespace backup::handlers
