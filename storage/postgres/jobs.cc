#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

namespace backup::storage::postgres {

absl::StatusOr<std::optional<std::string>> PostgresTransaction::FindStoreValue(
    const std::string& name) {
  Query query = connection_.Prepare("SELECT value FROM store_values WHERE name = $1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return std::nullopt;
  return query.Blob(0);
}

absl::StatusOr<std::string> PostgresTransaction::AddStoreValue(const std::string& name,
                                                               const std::string& value) {
  RETURN_IF_ERROR(
      connection_.Prepare("INSERT INTO store_values VALUES ($1, $2) ON CONFLICT DO NOTHING")
          .BindBlob(name)
          .BindBlob(value)
          .Run());
  ASSIGN_OR_RETURN(std::optional<std::string> kept, FindStoreValue(name));
  if (!kept) return absl::InternalError("a value of the catalog is missing");
  return *std::move(kept);
}

absl::Status PostgresTransaction::SetStoreValue(const std::string& name, const std::string& value) {
  return connection_
      .Prepare(
          "INSERT INTO store_values VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET "
          "value = EXCLUDED.value")
      .BindBlob(name)
      .BindBlob(value)
      .Run();
}

absl::StatusOr<std::vector<JobState>> PostgresTransaction::ListJobs() {
  Query query = connection_.Prepare(
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

absl::Status PostgresTransaction::SaveJob(const JobState& job) {
  Query insert = connection_.Prepare(
      "INSERT INTO jobs VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET "
      "cursor = EXCLUDED.cursor, last_start_time = EXCLUDED.last_start_time, "
      "last_success_time = EXCLUDED.last_success_time, last_error = EXCLUDED.last_error, "
      "last_count = EXCLUDED.last_count, total_count = EXCLUDED.total_count");
  insert.BindBlob(job.name).BindBlob(job.cursor);
  BindTime(insert, job.last_start_time);
  BindTime(insert, job.last_success_time);
  return insert.BindBlob(job.last_error).Bind(job.last_count).Bind(job.total_count).Passing().Run();
}

absl::Status PostgresTransaction::ProbeWrite() {
  return connection_.Prepare("UPDATE totals SET probes = probes + 1 WHERE shard = shard()")
      .Passing()
      .Run();
}

}  // namespace backup::storage::postgres
