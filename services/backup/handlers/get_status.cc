#include "services/backup/handlers/get_status.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/quotas.h"

namespace backup::handlers {
namespace {

v1::JobStatus ToProto(const storage::JobState& job) {
  v1::JobStatus out;
  out.set_name(job.name);
  if (job.last_start_time) SetTime(*job.last_start_time, *out.mutable_last_start_time());
  if (job.last_success_time) SetTime(*job.last_success_time, *out.mutable_last_success_time());
  out.set_last_error(job.last_error);
  out.set_last_count(job.last_count);
  out.set_total_count(job.total_count);
  return out;
}

v1::SnapshotStatus ToProto(const KeptSnapshots& snapshots) {
  v1::SnapshotStatus out;
  out.set_count(snapshots.count);
  out.set_size_bytes(snapshots.size_bytes);
  if (snapshots.newest_time) SetTime(*snapshots.newest_time, *out.mutable_newest_time());
  return out;
}

v1::GrowthStatus ToProto(const Growth& growth) {
  v1::GrowthStatus out;
  out.mutable_window()->set_seconds(absl::ToInt64Seconds(growth.window));
  out.mutable_period()->set_seconds(absl::ToInt64Seconds(growth.period));
  out.set_disk_bytes_per_day(growth.disk_bytes_per_day);
  out.set_stored_bytes_per_day(growth.stored_bytes_per_day);
  return out;
}

void SetDisk(const DiskUse& disk, const Forecast& forecast, v1::GetStatusResponse& response) {
  if (disk.catalog_bytes.ok()) response.set_catalog_bytes(*disk.catalog_bytes);
  // What an object store still takes nobody knows.
  if (disk.room_bytes.ok() && !disk.has_remote_blobs) response.set_room_bytes(*disk.room_bytes);
  if (disk.snapshots.ok()) *response.mutable_snapshots() = ToProto(*disk.snapshots);
  for (const Growth& growth : forecast.growth) *response.add_growth() = ToProto(growth);
  if (forecast.until_full)
    response.set_days_until_full(absl::FDivDuration(*forecast.until_full, absl::Hours(24)));
}

}  // namespace

absl::StatusOr<v1::GetStatusResponse> GetStatus(storage::Snapshot& snapshot, const Clock& clock,
                                                const ServiceInfo& info, const DiskUse& disk,
                                                absl::Time removal_time) {
  ASSIGN_OR_RETURN(const storage::Counts counts, snapshot.Count());
  ASSIGN_OR_RETURN(const std::optional<absl::Time> last_verified,
                   snapshot.LastVerifiedTime(clock.Now()));
  ASSIGN_OR_RETURN(const std::vector<storage::JobState> jobs, snapshot.ListJobs());
  ASSIGN_OR_RETURN(const std::optional<storage::ClockNote> clock_note, snapshot.FindClockNote());
  ASSIGN_OR_RETURN(const Forecast forecast, ForecastGrowth(snapshot, removal_time, counts, disk));
  v1::GetStatusResponse response;
  response.set_version(BACKUP_VERSION);
  response.mutable_start_time()->set_seconds(absl::ToUnixSeconds(info.start_time));
  for (const std::string& mode : info.modes) response.add_modes(mode);
  response.set_at_rest(info.at_rest);
  response.set_client_count(counts.clients);
  response.set_file_count(counts.files);
  response.set_version_count(counts.versions);
  response.set_verified_version_count(counts.verified_versions);
  response.set_stored_bytes(counts.stored_bytes);
  if (last_verified)
    response.mutable_last_verified_time()->set_seconds(absl::ToUnixSeconds(*last_verified));
  response.set_unique_bytes(counts.unique_bytes);
  response.set_compressed_bytes(counts.compressed_bytes);
  response.set_waiting_bytes(counts.waiting_bytes);
  response.set_physical_bytes(counts.blob_bytes + counts.pack_bytes);
  response.set_garbage_bytes(counts.pack_bytes - counts.pack_live_bytes);
  response.set_pack_count(counts.packs);
  response.set_unmoved_version_count(counts.unmoved_versions);
  response.set_damaged_chunk_count(counts.damaged_chunks);
  response.set_damaged_version_count(counts.marked_versions);
  response.set_trash_client_count(counts.trash_clients);
  response.set_trash_version_count(counts.trash_versions);
  response.set_trash_bytes(counts.trash_bytes);
  response.set_trash_retention_seconds(
      absl::ToInt64Seconds(absl::Ceil(info.trash_retention, absl::Seconds(1))));
  SetDisk(disk, forecast, response);
  ASSIGN_OR_RETURN(const v1::QuotaUse store_use, FindUse(snapshot, storage::QuotaScope()));
  if (store_use.has_quota()) *response.mutable_store_quota() = store_use;
  ASSIGN_OR_RETURN(const int64_t beyond, snapshot.CountClientsBeyondSoftLimits());
  response.set_clients_beyond_soft_limits(beyond);
  for (const storage::JobState& job : jobs) *response.add_jobs() = ToProto(job);
  response.mutable_retention()->set_policy_count(counts.policies);
  if (clock_note && clock_note->distrusted_since) {
    SetTime(*clock_note->distrusted_since,
            *response.mutable_retention()->mutable_distrusted_since());
    response.mutable_retention()->set_distrust(clock_note->distrust);
  }
  return response;
}

}  // namespace backup::handlers
