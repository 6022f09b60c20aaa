#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<std::vector<JobState>> SqliteTransaction::ListJobs() {
  Query query = database_.Prepare(
      "SELECT name, cursor, last_start_time, last_success_time, last_error, last_count, "
      "total_count FROM jobs ORDER BY name");
  std::vector<JobState> jobs;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return jobs;
    jobs.push_back({query.Blob(0), query.Blob(1), OptionalTimeColumn(query, 2),
                    OptionalTimeColumn(query, 3), query.Blob(4), query.Int(5), query.Int(6)});
  }
}

absl::Status SqliteTransaction::SaveJob(const JobState& job) {
  const Passing passing(*this);
  Query insert = database_.Prepare("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)");
  insert.BindBlob(job.name).BindBlob(job.cursor);
  BindTime(insert, job.last_start_time);
  BindTime(insert, job.last_success_time);
  return insert.BindBlob(job.last_error).Bind(job.last_count).Bind(job.total_count).Run();
}

absl::Status SqliteTransaction::ProbeWrite() {
  // SQLite writes no row that stays as it is, but this always.
  return database_.Prepare("PRAGMA application_id = 0").Run();
}

}  // namespace backup::storage
