#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Snapshots of the state that the store has.
struct KeptSnapshots {
  int64_t count = 0;
  int64_t size_bytes = 0;
  std::optional<absl::Time> newest_time;
};

// What the catalog does not know of the disk that the data is on; an error if that could not be
// looked at.
struct DiskUse {
  absl::StatusOr<int64_t> catalog_bytes;  // Without its log.
  absl::StatusOr<int64_t> room_bytes;     // That uploads may still take; quotas do not count.
  absl::StatusOr<KeptSnapshots> snapshots;
  bool has_remote_blobs = false;  // Packs and blobs take nothing of this disk.
  // Nor does the catalog, of which there are no snapshots then.
  bool has_remote_catalog = false;
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
// Before so much was noted nothing is told: on the first day of a store all comes for the first
// time, which is no growth.
inline constexpr absl::Duration kMinForecastAge = absl::Hours(8 * 24);
// Nothing is told of what is farther away: that is as good as never.
inline constexpr absl::Duration kLongestForecast = absl::Hours(24 * 365 * 10);
// Nothing is told of less: one night's backup is no growth.
inline constexpr absl::Duration kMinGrowthPeriod = absl::Hours(24);

// What is kept at `now`. An error if the disk could not be looked at.
absl::StatusOr<storage::SizeNote> SizesAt(absl::Time now, const storage::Counts& counts,
                                          const DiskUse& disk);

// Notes what is kept. Used by one thread at a time.
class SizeNoter {
 public:
  // After an error nothing is tried for so long.
  static constexpr absl::Duration kRetryInterval = absl::Hours(1);

  // `catalog` must outlive this. `look` is called if something is to be noted.
  SizeNoter(storage::Catalog& catalog, std::function<DiskUse()> look)
      : catalog_(catalog), look_(std::move(look)) {}

  // Notes what is kept if the last note is older than kNoteInterval, or is of the future: notes of
  // a later time are taken for wrong and go. `now` is retention::ClockWatch::RemovalTime(): nothing
  // is noted while that is the infinite past, nor in a damaged catalog. An error is of the catalog
  // or the disk.
  absl::Status NoteIfDue(absl::Time now);

 private:
  absl::Status Note(absl::Time now);

  storage::Catalog& catalog_;
  const std::function<DiskUse()> look_;
  std::optional<absl::Time> error_time_;  // Of the last attempt, if that failed.
};

// Growth from `notes`, oldest first, until `now`, for each of kGrowthWindows; nothing while all
// notes are younger than kMinGrowthPeriod.
std::vector<Growth> MeasureGrowth(const std::vector<storage::SizeNote>& notes,
                                  const storage::SizeNote& now);

// How long the room lasts if the disk fills as in kForecastWindow; zero if there is none, whatever
// the notes say. Nothing if all notes are younger than kMinForecastAge, if the disk does not fill,
// or only beyond kLongestForecast. `notes` and `now` as of MeasureGrowth().
std::optional<absl::Duration> TimeUntilFull(const std::vector<storage::SizeNote>& notes,
                                            const storage::SizeNote& now, int64_t room_bytes);

// The same of a catalog.
struct Forecast {
  std::vector<Growth> growth;                // Empty, too, if the disk could not be looked at.
  std::optional<absl::Duration> until_full;  // Nothing, too, if the room is not known.
};
// `now` is retention::ClockWatch::RemovalTime(): while it is the infinite past what was noted last
// counts in its place.
absl::StatusOr<Forecast> ForecastGrowth(storage::Snapshot& snapshot, absl::Time now,
                                        const storage::Counts& counts, const DiskUse& disk);

}  // namespace backup::handlers
