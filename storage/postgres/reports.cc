#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

// When the client last had a verified file, or that it never had one began to count.
#define LAST_SUCCESS "coalesce(last_verified_time, create_time)"

#define SUM(column) "coalesce(sum(" column "), 0)::bigint"

namespace backup::storage::postgres {

absl::StatusOr<Counts> PostgresTransaction::Count() {
  if (state_ != nullptr) RETURN_IF_ERROR(totals().Write(connection_));
  Query totals = connection_.Prepare(
      "SELECT " SUM("clients") ", " SUM("files") ", " SUM("versions") ", " SUM(
          "verified_versions") ", " SUM("abandoned_versions") ", " SUM("stored_bytes") ", " SUM(
          "blob_bytes") ", (SELECT count(*) FROM dropped_blobs), " SUM("chunks") ", " SUM(
          "unique_bytes") ", " SUM("compressed_bytes") ", " SUM("waiting_bytes") ", " SUM(
          "packs") ", " SUM("pack_bytes") ", " SUM("pack_live_bytes") ", " SUM(
          "unmoved_versions") ", (SELECT count(*) FROM dropped_recipes), "
      "(SELECT count(*) FROM retention_policies), " SUM("healed_chunks") ", " SUM(
          "healed_versions") ", (SELECT count(*) FROM chunks WHERE is_damaged AND refs > 0), "
      "(SELECT count(*) FROM damaged_versions), (SELECT count(*) FROM set_aside_blobs), " SUM(
          "trash_clients") ", " SUM("trash_versions") ", " SUM("trash_bytes") ", " SUM(
          "trash_files") " FROM totals");
  RETURN_IF_ERROR(totals.Step().status());
  Counts counts;
  counts.clients = totals.Int(0);
  counts.files = totals.Int(1);
  counts.versions = totals.Int(2);
  counts.verified_versions = totals.Int(3);
  counts.abandoned_versions = totals.Int(4);
  counts.stored_bytes = totals.Int(5);
  counts.blob_bytes = totals.Int(6);
  counts.dropped_blobs = totals.Int(7);
  counts.chunks = totals.Int(8);
  counts.unique_bytes = totals.Int(9);
  counts.compressed_bytes = totals.Int(10);
  counts.waiting_bytes = totals.Int(11);
  counts.packs = totals.Int(12);
  counts.pack_bytes = totals.Int(13);
  counts.pack_live_bytes = totals.Int(14);
  counts.unmoved_versions = totals.Int(15);
  counts.dropped_recipes = totals.Int(16);
  counts.policies = totals.Int(17);
  counts.healed_chunks = totals.Int(18);
  counts.healed_versions = totals.Int(19);
  counts.damaged_chunks = totals.Int(20);
  counts.marked_versions = totals.Int(21);
  counts.set_aside_blobs = totals.Int(22);
  counts.trash_clients = totals.Int(23);
  counts.trash_versions = totals.Int(24);
  counts.trash_bytes = totals.Int(25);
  counts.trash_files = totals.Int(26);
  return counts;
}

absl::StatusOr<int64_t> PostgresTransaction::SizeBytes() {
  Query size = connection_.Prepare("SELECT " SUM(
      "pg_total_relation_size(c.oid)") " FROM pg_class c WHERE c.relkind = 'r' AND "
                                       "c.relnamespace = (SELECT oid FROM pg_namespace WHERE "
                                       "nspname = current_schema())");
  RETURN_IF_ERROR(size.Step().status());
  return size.Int(0);
}

absl::StatusOr<std::optional<absl::Time>> PostgresTransaction::LastVerifiedTime(absl::Time now) {
  Query last = connection_.Prepare(
      "SELECT max(last_verified_time) FROM clients WHERE last_verified_time <= $1 "
      "AND delete_time IS NULL");
  RETURN_IF_ERROR(last.Bind(absl::ToUnixMicros(now + kMaxClockStep)).Step().status());
  return OptionalTimeColumn(last, 0);
}

absl::StatusOr<std::vector<Client>> PostgresTransaction::ListStaleClients(absl::Time since,
                                                                          absl::Time now,
                                                                          const ClientId& after,
                                                                          int limit) {
  Query query =
      connection_.Prepare("SELECT " CLIENT_COLUMNS
                          " FROM clients c WHERE client_id > $1 AND delete_time IS NULL "
                          "AND " LAST_SUCCESS " NOT BETWEEN $2 AND $3 ORDER BY client_id LIMIT $4");
  return ReadClients(query.BindBlob(after.bytes())
                         .Bind(absl::ToUnixMicros(since))
                         .Bind(absl::ToUnixMicros(now + kMaxClockStep))
                         .Bind(limit));
}

absl::StatusOr<int64_t> PostgresTransaction::CountStaleClients(absl::Time since, absl::Time now) {
  Query query =
      connection_.Prepare("SELECT count(*) FROM clients WHERE delete_time IS NULL AND " LAST_SUCCESS
                          " NOT BETWEEN $1 AND $2");
  query.Bind(absl::ToUnixMicros(since)).Bind(absl::ToUnixMicros(now + kMaxClockStep));
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<std::vector<SizeNote>> PostgresTransaction::ListSizeNotes() {
  Query query =
      connection_.Prepare("SELECT time, disk_bytes, stored_bytes FROM size_notes ORDER BY time");
  std::vector<SizeNote> notes;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return notes;
    notes.push_back({absl::FromUnixMicros(query.Int(0)), query.Int(1), query.Int(2)});
  }
}

absl::Status PostgresTransaction::AddSizeNote(const SizeNote& note) {
  RETURN_IF_ERROR(connection_.Prepare("DELETE FROM size_notes WHERE time >= $1")
                      .Bind(absl::ToUnixMicros(note.time))
                      .Passing()
                      .Run());
  RETURN_IF_ERROR(
      connection_
          .Prepare("INSERT INTO size_notes VALUES ($1, $2, $3) ON CONFLICT (time) DO UPDATE SET "
                   "disk_bytes = EXCLUDED.disk_bytes, stored_bytes = EXCLUDED.stored_bytes")
          .Bind(absl::ToUnixMicros(note.time))
          .Bind(note.disk_bytes)
          .Bind(note.stored_bytes)
          .Passing()
          .Run());
  return connection_
      .Prepare(
          "DELETE FROM size_notes WHERE time <= "
          "(SELECT time FROM size_notes ORDER BY time DESC LIMIT 1 OFFSET $1)")
      .Bind(kMaxSizeNotes)
      .Passing()
      .Run();
}

}  // namespace backup::storage::postgres
