#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<Counts> SqliteTransaction::Count() {
  Query totals = database_.Prepare(
      "SELECT clients, files, versions, verified_versions, abandoned_versions, stored_bytes, "
      "blob_bytes, dropped_blobs, "
      "(SELECT max(last_verified_time) FROM clients WHERE last_verified_time IS NOT NULL) FROM "
      "totals");
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
  if (!totals.IsNull(8)) counts.last_verified_time = absl::FromUnixMicros(totals.Int(8));
  return counts;
}

absl::StatusOr<std::vector<Client>> SqliteTransaction::ListStaleClients(absl::Time since,
                                                                        const ClientId& after,
                                                                        int limit) {
  Query query = database_.Prepare(
      "SELECT " CLIENT_COLUMNS
      " FROM clients WHERE client_id > ? AND coalesce(last_verified_time, create_time) < ? "
      "ORDER BY client_id LIMIT ?");
  return ReadClients(query.BindBlob(after.bytes()).Bind(absl::ToUnixMicros(since)).Bind(limit));
}

absl::StatusOr<int64_t> SqliteTransaction::CountStaleClients(absl::Time since) {
  Query query = database_.Prepare(
      "SELECT count(*) FROM clients WHERE coalesce(last_verified_time, create_time) < ?");
  RETURN_IF_ERROR(query.Bind(absl::ToUnixMicros(since)).Step().status());
  return query.Int(0);
}

}  // namespace backup::storage
