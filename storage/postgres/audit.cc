#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

#define AUDIT_COLUMNS                                                                         \
  "number, time, actor, role, peer, action, client_id, object, version_id, outcome, detail, " \
  "chain"

namespace backup::storage::postgres {
namespace {

AuditEntry ReadEntry(const Query& row) {
  AuditEntry entry;
  entry.number = row.Int(0);
  entry.time = absl::FromUnixMicros(row.Int(1));
  entry.actor = row.Blob(2);
  entry.role = row.Blob(3);
  entry.peer = row.Blob(4);
  entry.action = row.Blob(5);
  if (!row.IsNull(6)) entry.client = ClientId::FromBytes(row.Blob(6)).value_or(ClientId());
  entry.object = row.Blob(7);
  entry.version_id = row.Int(8);
  entry.outcome = row.Blob(9);
  entry.detail = row.Blob(10);
  entry.chain = row.Blob(11);
  return entry;
}

// Binds a condition that an empty text leaves out.
void BindUnlessEmpty(Query& query, const std::string& value) {
  if (value.empty()) {
    query.BindNull();
  } else {
    query.BindBlob(value);
  }
}

}  // namespace

absl::StatusOr<std::vector<AuditEntry>> PostgresTransaction::ListAuditEntries(
    int64_t after, const AuditFilter& filter, int limit) {
  Query query =
      connection_.Prepare("SELECT " AUDIT_COLUMNS
                          " FROM audit_entries WHERE number > $1 AND time >= $2 AND time < $3 "
                          "AND ($4::bytea IS NULL OR client_id = $4::bytea) "
                          "AND ($5::bytea IS NULL OR position($5::bytea IN actor) > 0) "
                          "AND ($6::bytea IS NULL OR action = $6::bytea) ORDER BY number LIMIT $7");
  query.Bind(after).Bind(absl::ToUnixMicros(filter.since)).Bind(absl::ToUnixMicros(filter.until));
  BindUnlessEmpty(query, filter.client ? std::string(filter.client->bytes()) : std::string());
  BindUnlessEmpty(query, filter.actor);
  BindUnlessEmpty(query, filter.action);
  query.Bind(limit);
  std::vector<AuditEntry> entries;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return entries;
    entries.push_back(ReadEntry(query));
  }
}

absl::StatusOr<std::optional<AuditEntry>> PostgresTransaction::FindNewestAuditEntry() {
  // Whoever appends looks for the newest entry first: no other service may do so before the commit.
  if (state_ != nullptr) {
    RETURN_IF_ERROR(connection_.Prepare("LOCK TABLE audit_entries IN SHARE ROW EXCLUSIVE MODE")
                        .Passing()
                        .Run());
  }
  Query query = connection_.Prepare("SELECT " AUDIT_COLUMNS
                                    " FROM audit_entries ORDER BY number DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return std::nullopt;
  return ReadEntry(query);
}

// The server has no reserve of ours: where it has no room, making room fails as well.
absl::Status PostgresTransaction::AppendAuditEntry(const AuditEntry& entry, AuditRoom /*room*/) {
  Query insert =
      connection_.Prepare("INSERT INTO audit_entries (" AUDIT_COLUMNS
                          ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
  insert.Bind(entry.number)
      .Bind(absl::ToUnixMicros(entry.time))
      .BindBlob(entry.actor)
      .BindBlob(entry.role)
      .BindBlob(entry.peer)
      .BindBlob(entry.action);
  BindUnlessEmpty(insert, entry.client ? std::string(entry.client->bytes()) : std::string());
  return insert.BindBlob(entry.object)
      .Bind(entry.version_id)
      .BindBlob(entry.outcome)
      .BindBlob(entry.detail)
      .BindBlob(entry.chain)
      .Run();
}

absl::StatusOr<int64_t> PostgresTransaction::DropAuditEntries(int64_t last, int limit) {
  Query query = connection_.Prepare(
      "WITH dropped AS (DELETE FROM audit_entries WHERE number IN (SELECT number FROM "
      "audit_entries WHERE number <= $1 ORDER BY number LIMIT $2) RETURNING 1) "
      "SELECT count(*) FROM dropped");
  RETURN_IF_ERROR(query.Bind(last).Bind(limit).Step().status());
  return query.Int(0);
}

}  // namespace backup::storage::postgres
