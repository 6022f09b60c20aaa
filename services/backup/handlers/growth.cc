#include "services/backup/handlers/growth.h"

#include <algorithm>
#include <cmath>

#include "base/status_macros.h"

namespace backup::handlers {
namespace {

using storage::SizeNote;

constexpr absl::Duration kDay = absl::Hours(24);
// More is as good as never, and fits into every clock.
constexpr absl::Duration kLongestForecast = absl::Hours(24 * 365 * 100);

int64_t PerDay(int64_t bytes, absl::Duration period) {
  return std::llround(static_cast<double>(bytes) / absl::FDivDuration(period, kDay));
}

// From the newest note that is as old as the window, or else from the oldest.
Growth GrowthOver(absl::Duration window, const std::vector<SizeNote>& notes, const SizeNote& now) {
  const auto younger =
      std::upper_bound(notes.begin(), notes.end(), now.time - window,
                       [](absl::Time time, const SizeNote& note) { return time < note.time; });
  const SizeNote& base = younger == notes.begin() ? notes.front() : *(younger - 1);
  const absl::Duration period = now.time - base.time;
  return {window, period, PerDay(now.disk_bytes - base.disk_bytes, period),
          PerDay(now.stored_bytes - base.stored_bytes, period)};
}

}  // namespace

SizeNote SizesAt(absl::Time now, const storage::Counts& counts, const DiskUse& disk) {
  return {now,
          counts.blob_bytes + counts.pack_bytes + disk.catalog_bytes + disk.snapshots.size_bytes,
          counts.stored_bytes};
}

absl::Status NoteSizes(storage::Catalog& catalog, absl::Time now,
                       const std::function<DiskUse()>& look) {
  storage::Counts counts;
  ASSIGN_OR_RETURN(
      const bool is_due, catalog.Read([&](storage::Snapshot& snapshot) -> absl::StatusOr<bool> {
        ASSIGN_OR_RETURN(const std::vector<SizeNote> notes, snapshot.ListSizeNotes());
        if (!notes.empty() && notes.back().time <= now && now - notes.back().time < kNoteInterval)
          return false;
        ASSIGN_OR_RETURN(counts, snapshot.Count());
        return true;
      }));
  if (!is_due) return absl::OkStatus();
  const SizeNote note = SizesAt(now, counts, look());
  return catalog.Run(
      [&](storage::Transaction& transaction) { return transaction.AddSizeNote(note); });
}

std::vector<Growth> MeasureGrowth(const std::vector<SizeNote>& notes, const SizeNote& now) {
  std::vector<Growth> growth;
  if (notes.empty() || now.time - notes.front().time < kMinGrowthPeriod) return growth;
  for (const absl::Duration window : kGrowthWindows)
    growth.push_back(GrowthOver(window, notes, now));
  return growth;
}

std::optional<absl::Duration> TimeUntilFull(const std::vector<Growth>& growth, int64_t room_bytes) {
  for (const Growth& measured : growth) {
    if (measured.window != kForecastWindow || measured.disk_bytes_per_day <= 0) continue;
    const double days =
        static_cast<double>(room_bytes) / static_cast<double>(measured.disk_bytes_per_day);
    return std::min(days * kDay, kLongestForecast);
  }
  return std::nullopt;
}

absl::StatusOr<Forecast> ForecastGrowth(storage::Snapshot& snapshot, absl::Time now,
                                        const storage::Counts& counts, const DiskUse& disk) {
  ASSIGN_OR_RETURN(const std::vector<SizeNote> notes, snapshot.ListSizeNotes());
  ASSIGN_OR_RETURN(const std::optional<storage::ClockNote> clock_note, snapshot.FindClockNote());
  const bool is_trusted = !clock_note || !clock_note->distrusted_since;
  const SizeNote last = is_trusted || notes.empty() ? SizesAt(now, counts, disk) : notes.back();
  Forecast forecast;
  forecast.growth = MeasureGrowth(notes, last);
  forecast.until_full = TimeUntilFull(forecast.growth, disk.room_bytes);
  return forecast;
}

}  // namespace backup::handlers
