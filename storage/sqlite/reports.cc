#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

// When the client last had a verified file, or that it never had one began to count.
#define LAST_SUCCESS "coalesce(last_verified_time, create_time)"

absl::StatusOr<Counts> SqliteTransaction::Count() {
  Query totals = database_.Prepare(
      "SELECT clients, files, versions, verified_versions, abandoned_versions, stored_bytes, "
      "blob_bytes, dropped_blobs, chunks, unique_bytes, compressed_bytes, waiting_bytes, packs, "
      "pack_bytes, pack_live_bytes, unmoved_versions, dropped_recipes, "
      "(SELECT count(*) FROM retention_policies), healed_chunks, healed_versions, "
      "(SELECT count(*) FROM chunks WHERE is_damaged = 1 AND refs > 0), "
      "(SELECT count(*) FROM damaged_versions), (SELECT count(*) FROM set_aside_blobs), "
      "trash_clients, trash_versions, trash_bytes, trash_files FROM totals");
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

absl::StatusOr<std::optional<absl::Time>> SqliteTransaction::LastVerifiedTime(absl::Time now) {
  Query last = database_.Prepare(
      "SELECT max(last_verified_time) FROM clients WHERE last_verified_time <= ? "
      "AND delete_time IS NULL");
  RETURN_IF_ERROR(last.Bind(absl::ToUnixMicros(now + kMaxClockStep)).Step().status());
  return OptionalTimeColumn(last, 0);
}

absl::StatusOr<std::vector<Client>> SqliteTransaction::ListStaleClients(absl::Time since,
                                                                        absl::Time now,
                                                                        const ClientId& after,
                                                                        int limit) {
  Query query = database_.Prepare("SELECT " CLIENT_COLUMNS
                                  " FROM clients WHERE client_id > ? AND delete_time IS NULL "
                                  "AND " LAST_SUCCESS
                                  " NOT BETWEEN ? AND ? "
                                  "ORDER BY client_id LIMIT ?");
  return ReadClients(query.BindBlob(after.bytes())
                         .Bind(absl::ToUnixMicros(since))
                         .Bind(absl::ToUnixMicros(now + kMaxClockStep))
                         .Bind(limit));
}

absl::StatusOr<int64_t> SqliteTransaction::CountStaleClients(absl::Time since, absl::Time now) {
  Query query =
      database_.Prepare("SELECT count(*) FROM clients WHERE delete_time IS NULL AND " LAST_SUCCESS
                        " NOT BETWEEN ? AND ?");
  query.Bind(absl::ToUnixMicros(since)).Bind(absl::ToUnixMicros(now + kMaxClockStep));
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<std::vector<SizeNote>> SqliteTransaction::ListSizeNotes() {
  Query query =
      database_.Prepare("SELECT time, disk_bytes, stored_bytes FROM size_notes ORDER BY time");
  std::vector<SizeNote> notes;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return notes;
    notes.push_back({absl::FromUnixMicros(query.Int(0)), query.Int(1), query.Int(2)});
  }
}

absl::Status SqliteTransaction::AddSizeNote(const SizeNote& note) {
  const Passing passing(*this);
  RETURN_IF_ERROR(database_.Prepare("DELETE FROM size_notes WHERE time >= ?")
                      .Bind(absl::ToUnixMicros(note.time))
                      .Run());
  RETURN_IF_ERROR(database_.Prepare("INSERT INTO size_notes VALUES (?, ?, ?)")
                      .Bind(absl::ToUnixMicros(note.time))
                      .Bind(note.disk_bytes)
                      .Bind(note.stored_bytes)
                      .Run());
  return database_
      .Prepare(
          "DELETE FROM size_notes WHERE time <= "
          "(SELECT time FROM size_notes ORDER BY time DESC LIMIT 1 OFFSET ?)")
      .Bind(kMaxSizeNotes)
      .Run();
}

}  // namespace backup::storage
