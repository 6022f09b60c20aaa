#include "services/backup/handlers/growth.h"

#include <algorithm>
#include <cmath>

#include "base/status_macros.h"

namespace backup::handlers {
namespace {

using storage::SizeNote;

constexpr absl::Duration kDay = absl::Hours(24);

int64_t PerDay(int64_t bytes, absl::Duration period) {
  return std::llround(static_cast<double>(bytes) / absl::FDivDuration(period, kDay));
}

// From the newest note that is as old as the window, or else from the oldest.
Growth GrowthOver(absl::Duration window, const std::vector<SizeNote>& notes, const SizeNote& now) {
  const auto younger =
      std::upper_bound(notes.begin(), notes.end(), now.time - window,
                       [](absl::Time time, const SizeNote& note) { return time < note.time; });
  const auto base = younger == notes.begin() ? younger : younger - 1;
  const absl::Duration period = now.time - base->time;
  return {window, period, PerDay(now.disk_bytes - base->disk_bytes, period),
          PerDay(now.stored_bytes - base->stored_bytes, period)};
}

// If a note is due at `now`.
absl::StatusOr<bool> IsDue(storage::Snapshot& snapshot, absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<SizeNote> notes, snapshot.ListSizeNotes());
  return notes.empty() || notes.back().time > now || now - notes.back().time >= kNoteInterval;
}

}  // namespace

absl::StatusOr<SizeNote> SizesAt(absl::Time now, const storage::Counts& counts,
                                 const DiskUse& disk) {
  const int64_t blob_bytes = disk.has_remote_blobs ? 0 : counts.blob_bytes + counts.pack_bytes;
  if (disk.has_remote_catalog) return SizeNote{now, blob_bytes, counts.stored_bytes};
  RETURN_IF_ERROR(disk.catalog_bytes.status());
  RETURN_IF_ERROR(disk.snapshots.status());
  return SizeNote{now, blob_bytes + *disk.catalog_bytes + disk.snapshots->size_bytes,
                  counts.stored_bytes};
}

absl::Status SizeNoter::NoteIfDue(absl::Time now) {
  if (now == absl::InfinitePast() || !catalog_.damage().ok()) return absl::OkStatus();
  if (error_time_ && *error_time_ <= now && now - *error_time_ < kRetryInterval)
    return absl::OkStatus();
  const absl::Status noted = Note(now);
  error_time_ = noted.ok() ? std::nullopt : std::optional(now);
  return noted;
}

absl::Status SizeNoter::Note(absl::Time now) {
  using CountsIfDue = std::optional<storage::Counts>;
  ASSIGN_OR_RETURN(const CountsIfDue counts,
                   catalog_.Read([&](storage::Snapshot& snapshot) -> absl::StatusOr<CountsIfDue> {
                     ASSIGN_OR_RETURN(const bool is_due, IsDue(snapshot, now));
                     if (!is_due) return std::nullopt;
                     return snapshot.Count();
                   }));
  if (!counts) return absl::OkStatus();
  ASSIGN_OR_RETURN(const SizeNote note, SizesAt(now, *counts, look_()));
  return catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    // Another service may have been faster.
    ASSIGN_OR_RETURN(const bool is_still_due, IsDue(transaction, now));
    return is_still_due ? transaction.AddSizeNote(note) : absl::OkStatus();
  });
}

std::vector<Growth> MeasureGrowth(const std::vector<SizeNote>& notes, const SizeNote& now) {
  std::vector<Growth> growth;
  if (notes.empty() || now.time - notes.front().time < kMinGrowthPeriod) return growth;
  for (const absl::Duration window : kGrowthWindows)
    growth.push_back(GrowthOver(window, notes, now));
  return growth;
}

std::optional<absl::Duration> TimeUntilFull(const std::vector<SizeNote>& notes, const SizeNote& now,
                                            int64_t room_bytes) {
  if (room_bytes <= 0) return absl::ZeroDuration();
  if (notes.empty() || now.time - notes.front().time < kMinForecastAge) return std::nullopt;
  const int64_t per_day = GrowthOver(kForecastWindow, notes, now).disk_bytes_per_day;
  if (per_day <= 0) return std::nullopt;
  const absl::Duration left = static_cast<double>(room_bytes) / static_cast<double>(per_day) * kDay;
  return left <= kLongestForecast ? std::optional(left) : std::nullopt;
}

absl::StatusOr<Forecast> ForecastGrowth(storage::Snapshot& snapshot, absl::Time now,
                                        const storage::Counts& counts, const DiskUse& disk) {
  ASSIGN_OR_RETURN(const std::vector<SizeNote> notes, snapshot.ListSizeNotes());
  Forecast forecast;
  if (disk.room_bytes.ok() && *disk.room_bytes <= 0) forecast.until_full = absl::ZeroDuration();
  const bool is_trusted = now != absl::InfinitePast();
  if (!is_trusted && notes.empty()) return forecast;
  const absl::StatusOr<SizeNote> last = is_trusted ? SizesAt(now, counts, disk) : notes.back();
  if (!last.ok()) return forecast;
  forecast.growth = MeasureGrowth(notes, *last);
  if (disk.room_bytes.ok()) forecast.until_full = TimeUntilFull(notes, *last, *disk.room_bytes);
  return forecast;
}

}  // namespace backup::handlers
