#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

#define AUDIT_COLUMNS                                                                         \
  "number, time, actor, role, peer, action, client_id, object, version_id, outcome, detail, " \
  "chain"

namespace backup::storage {
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

absl::StatusOr<std::vector<AuditEntry>> SqliteTransaction::ListAuditEntries(
    int64_t after, const AuditFilter& filter, int limit) {
  Query query = database_.Prepare(
      "SELECT " AUDIT_COLUMNS
      " FROM audit_entries WHERE number > ?1 AND time >= ?2 AND time < ?3 "
      "AND (?4 IS NULL OR client_id = ?4) AND (?5 IS NULL OR instr(actor, ?5) > 0) "
      "AND (?6 IS NULL OR action = ?6) ORDER BY number LIMIT ?7");
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

absl::StatusOr<std::optional<AuditEntry>> SqliteTransaction::FindNewestAuditEntry() {
  Query query =
      database_.Prepare("SELECT " AUDIT_COLUMNS " FROM audit_entries ORDER BY number DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return std::nullopt;
  return ReadEntry(query);
}

absl::Status SqliteTransaction::AppendAuditEntry(const AuditEntry& entry, AuditRoom room) {
  if (room == AuditRoom::kUnlessFull) RETURN_IF_ERROR(CheckGrowth());
  Query insert = database_.Prepare("INSERT INTO audit_entries (" AUDIT_COLUMNS
                                   ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Bind(entry.number)
      .Bind(absl::ToUnixMicros(entry.time))
      .BindBlob(entry.actor)
      .BindBlob(entry.role)
      .BindBlob(entry.peer)
      .BindBlob(entry.action);
  if (entry.client) {
    insert.BindBlob(entry.client->bytes());
  } else {
    insert.BindNull();
  }
  return insert.BindBlob(entry.object)
      .Bind(entry.version_id)
      .BindBlob(entry.outcome)
      .BindBlob(entry.detail)
      .BindBlob(entry.chain)
      .Run();
}

absl::StatusOr<int64_t> SqliteTransaction::DropAuditEntries(int64_t last, int limit) {
  const int64_t before = database_.total_changes();
  RETURN_IF_ERROR(database_
                      .Prepare("DELETE FROM audit_entries WHERE number IN (SELECT number FROM "
                               "audit_entries WHERE number <= ? ORDER BY number LIMIT ?)")
                      .Bind(last)
                      .Bind(limit)
                      .Run());
  return database_.total_changes() - before;
}

}  // namespace backup::storage
