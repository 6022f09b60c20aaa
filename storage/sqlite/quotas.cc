#include <utility>

#include "base/status_macros.h"
#include "storage/catalog/quota.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

#define LIMIT_COLUMNS "soft_bytes, hard_bytes, soft_files, hard_files"

namespace backup::storage {
namespace {

QuotaLimits ReadLimits(const Query& row, int column) {
  return {row.Int(column), row.Int(column + 1), row.Int(column + 2), row.Int(column + 3)};
}

}  // namespace

absl::StatusOr<std::optional<QuotaLimits>> SqliteTransaction::FindQuota(const QuotaScope& scope) {
  Query query =
      database_.Prepare("SELECT " LIMIT_COLUMNS " FROM quotas WHERE client_id = ? AND kind = ?");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(scope.client.bytes()).Bind(static_cast<int>(scope.kind)).Step());
  if (!found) return std::nullopt;
  return ReadLimits(query, 0);
}

absl::StatusOr<std::vector<Quota>> SqliteTransaction::ListQuotas(
    const std::optional<QuotaScope>& after, int limit) {
  Query query = database_.Prepare(
      "SELECT client_id, kind, " LIMIT_COLUMNS
      " FROM quotas q WHERE (client_id, kind) > (?, ?) AND NOT EXISTS (SELECT 1 FROM clients c "
      "WHERE c.client_id = q.client_id AND c.delete_time IS NOT NULL) "
      "ORDER BY client_id, kind LIMIT ?");
  const QuotaScope begin = after.value_or(QuotaScope());
  query.BindBlob(begin.client.bytes()).Bind(after ? static_cast<int>(begin.kind) : 0).Bind(limit);
  std::vector<Quota> quotas;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return quotas;
    quotas.push_back({{ClientId::FromBytes(query.Blob(0)).value_or(ClientId()),
                       static_cast<QuotaKind>(query.Int(1))},
                      ReadLimits(query, 2)});
  }
}

absl::StatusOr<std::vector<QuotaUse>> SqliteTransaction::ListQuotasFor(
    const ClientId& client, const std::string& file_name) {
  // Every client's comes before its own.
  Query query = database_.Prepare("SELECT kind, " LIMIT_COLUMNS
                                  " FROM quotas WHERE client_id IN (zeroblob(16), ?) "
                                  "ORDER BY client_id, kind");
  query.BindBlob(client.bytes());
  std::optional<QuotaLimits> of_client;
  std::optional<QuotaLimits> of_store;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) break;
    const bool is_stores = static_cast<QuotaKind>(query.Int(0)) == QuotaKind::kStore;
    (is_stores ? of_store : of_client) = ReadLimits(query, 1);
  }
  std::vector<QuotaUse> uses;
  if (!of_client && !of_store) return uses;
  ASSIGN_OR_RETURN(const std::optional<FileRow> row, FindFileRow(client, file_name));
  if (!row) return uses;
  if (of_client) {
    uses.push_back({{client, QuotaKind::kClient}, *of_client, row->used_by_client, !row->counts});
  }
  if (of_store) {
    ASSIGN_OR_RETURN(const Usage used, UsedByStore());
    uses.push_back({QuotaScope(), *of_store, used, !row->is_there});
  }
  return uses;
}

absl::StatusOr<std::optional<SqliteTransaction::FileRow>> SqliteTransaction::FindFileRow(
    const ClientId& client, const std::string& file_name) {
  Query query = database_.Prepare(
      "SELECT c.stored_bytes, c.file_count, f.version_count FROM clients c LEFT JOIN files f "
      "ON f.client_id = c.client_id AND f.name = ?2 "
      "WHERE c.client_id = ?1 AND c.delete_time IS NULL");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(client.bytes()).BindBlob(file_name).Step());
  if (!found) return std::nullopt;
  return FileRow{{query.Int(0), query.Int(1)}, !query.IsNull(2), query.Int(2) > 0};
}

// The store's usage is the sum over clients.
absl::StatusOr<Usage> SqliteTransaction::UsedByStore() {
  Query query =
      database_.Prepare("SELECT stored_bytes + trash_bytes, files + trash_files FROM totals");
  RETURN_IF_ERROR(query.Step().status());
  return Usage{query.Int(0), query.Int(1)};
}

absl::StatusOr<std::optional<Client>> SqliteTransaction::FindClientBeyond(
    const QuotaLimits& limits) {
  Query query = database_.Prepare(
      "SELECT " CLIENT_COLUMNS
      " FROM clients c WHERE delete_time IS NULL "
      "AND (stored_bytes > nullif(?1, 0) OR file_count > nullif(?2, 0)) "
      "AND NOT EXISTS (SELECT 1 FROM quotas q WHERE q.client_id = c.client_id) LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.Bind(limits.hard_bytes).Bind(limits.hard_files).Step());
  if (!found) return std::nullopt;
  return ReadClient(query);
}

absl::StatusOr<int64_t> SqliteTransaction::CountClientsBeyondSoftLimits() {
  ASSIGN_OR_RETURN(const std::optional<QuotaLimits> every,
                   FindQuota({ClientId(), QuotaKind::kEveryClient}));
  if (!every || (every->soft_bytes == 0 && every->soft_files == 0)) {
    // Then only clients with quotas of their own can be.
    Query own = database_.Prepare(
        "SELECT count(*) FROM quotas CROSS JOIN clients USING (client_id) "
        "WHERE kind = 3 AND delete_time IS NULL AND "
        "(stored_bytes > nullif(soft_bytes, 0) OR file_count > nullif(soft_files, 0))");
    RETURN_IF_ERROR(own.Step().status());
    return own.Int(0);
  }
  Query query = database_.Prepare(
      "SELECT count(*) FROM clients c "
      "LEFT JOIN quotas own ON own.client_id = c.client_id "
      "LEFT JOIN quotas every ON every.client_id = zeroblob(16) AND every.kind = 2 "
      "WHERE delete_time IS NULL AND "
      "(stored_bytes > nullif(coalesce(own.soft_bytes, every.soft_bytes), 0) OR "
      "file_count > nullif(coalesce(own.soft_files, every.soft_files), 0))");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::Status SqliteTransaction::SetQuota(const Quota& quota) {
  if (quota.scope.kind == QuotaKind::kClient)
    RETURN_IF_ERROR(SelectClient(database_, quota.scope.client).status());
  const QuotaLimits& limits = quota.limits;
  return database_
      .Prepare("INSERT OR REPLACE INTO quotas (client_id, kind, " LIMIT_COLUMNS
               ") VALUES (?, ?, ?, ?, ?, ?)")
      .BindBlob(quota.scope.client.bytes())
      .Bind(static_cast<int>(quota.scope.kind))
      .Bind(limits.soft_bytes)
      .Bind(limits.hard_bytes)
      .Bind(limits.soft_files)
      .Bind(limits.hard_files)
      .Run();
}

absl::StatusOr<bool> SqliteTransaction::DeleteQuota(const QuotaScope& scope) {
  return database_.Prepare("DELETE FROM quotas WHERE client_id = ? AND kind = ? RETURNING 1")
      .BindBlob(scope.client.bytes())
      .Bind(static_cast<int>(scope.kind))
      .Step();
}

}  // namespace backup::storage
