#include <utility>

#include "base/status_macros.h"
#include "storage/catalog/quota.h"
#include "storage/postgres/postgres_transaction.h"

#define FIND_USE                                                                           \
  "SELECT c.stored_bytes, c.file_count, f.version_count FROM clients c LEFT JOIN files f " \
  "ON f.client_id = c.client_id AND f.name = $2 "                                          \
  "WHERE c.client_id = $1 AND c.delete_time IS NULL"
#define LIMIT_COLUMNS "soft_bytes, hard_bytes, soft_files, hard_files"

namespace backup::storage::postgres {
namespace {

QuotaLimits ReadLimits(const Query& row, int column) {
  return {row.Int(column), row.Int(column + 1), row.Int(column + 2), row.Int(column + 3)};
}

}  // namespace

absl::StatusOr<std::optional<QuotaLimits>> PostgresTransaction::FindQuota(const QuotaScope& scope) {
  Query query = connection_.Prepare("SELECT " LIMIT_COLUMNS
                                    " FROM quotas WHERE client_id = $1 AND kind = $2");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(scope.client.bytes()).Bind(static_cast<int>(scope.kind)).Step());
  if (!found) return std::nullopt;
  return ReadLimits(query, 0);
}

absl::StatusOr<std::vector<Quota>> PostgresTransaction::ListQuotas(
    const std::optional<QuotaScope>& after, int limit) {
  Query query = connection_.Prepare(
      "SELECT client_id, kind, " LIMIT_COLUMNS
      " FROM quotas q WHERE (client_id, kind) > ($1, $2) AND NOT EXISTS (SELECT 1 FROM clients c "
      "WHERE c.client_id = q.client_id AND c.delete_time IS NOT NULL) "
      "ORDER BY client_id, kind LIMIT $3");
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

absl::StatusOr<std::vector<QuotaUse>> PostgresTransaction::ListQuotasFor(
    const ClientId& client, const std::string& file_name) {
  // Asked for each file that comes, and as a rule there is none.
  if (state_ != nullptr && !state_->has_quotas.value_or(true)) return std::vector<QuotaUse>();
  Query any = connection_.Prepare("SELECT EXISTS (SELECT 1 FROM quotas)");
  any.Start();
  // Every client's comes before its own.
  Query query = connection_.Prepare("SELECT kind, " LIMIT_COLUMNS
                                    " FROM quotas WHERE client_id IN ($2, $1) "
                                    "ORDER BY client_id, kind");
  query.BindBlob(client.bytes()).BindBlob(ClientId().bytes()).Start();
  // In a transaction that may add to it, nobody else does until that ends.
  Query file =
      connection_.Prepare(state_ != nullptr ? FIND_USE " FOR NO KEY UPDATE OF c" : FIND_USE);
  file.BindBlob(client.bytes()).BindBlob(file_name).Start();
  std::optional<QuotaLimits> of_client;
  std::optional<QuotaLimits> of_store;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) break;
    const bool is_stores = static_cast<QuotaKind>(query.Int(0)) == QuotaKind::kStore;
    (is_stores ? of_store : of_client) = ReadLimits(query, 1);
  }
  RETURN_IF_ERROR(any.Step().status());
  if (state_ != nullptr) state_->has_quotas = any.Int(0) != 0;
  std::vector<QuotaUse> uses;
  ASSIGN_OR_RETURN(const bool has_client, file.Step());
  if (!has_client) return uses;
  const bool is_there = !file.IsNull(2);
  const bool counts = file.Int(2) > 0;
  if (of_client) {
    uses.push_back({{client, QuotaKind::kClient}, *of_client, {file.Int(0), file.Int(1)}, !counts});
  }
  if (of_store) {
    ASSIGN_OR_RETURN(const Usage used, UsedByStore());
    uses.push_back({QuotaScope(), *of_store, used, !is_there});
  }
  return uses;
}

// The store's usage is the sum over clients.
absl::StatusOr<Usage> PostgresTransaction::UsedByStore() {
  if (state_ != nullptr) RETURN_IF_ERROR(totals().Write(connection_));
  Query query = connection_.Prepare(
      "SELECT sum(stored_bytes + trash_bytes)::bigint, sum(files + trash_files)::bigint "
      "FROM totals");
  RETURN_IF_ERROR(query.Step().status());
  return Usage{query.Int(0), query.Int(1)};
}

absl::StatusOr<std::optional<Client>> PostgresTransaction::FindClientBeyond(
    const QuotaLimits& limits) {
  Query query = connection_.Prepare(
      "SELECT " CLIENT_COLUMNS
      " FROM clients c WHERE delete_time IS NULL "
      "AND (stored_bytes > nullif($1::bigint, 0) OR file_count > nullif($2::bigint, 0)) "
      "AND NOT EXISTS (SELECT 1 FROM quotas q WHERE q.client_id = c.client_id) LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.Bind(limits.hard_bytes).Bind(limits.hard_files).Step());
  if (!found) return std::nullopt;
  return ReadClient(query);
}

absl::StatusOr<int64_t> PostgresTransaction::CountClientsBeyondSoftLimits() {
  Query query = connection_.Prepare(
      "SELECT count(*) FROM clients c "
      "LEFT JOIN quotas own ON own.client_id = c.client_id "
      "LEFT JOIN quotas every_client ON every_client.client_id = $1 AND every_client.kind = 2 "
      "WHERE delete_time IS NULL AND "
      "(stored_bytes > nullif(coalesce(own.soft_bytes, every_client.soft_bytes), 0) OR "
      "file_count > nullif(coalesce(own.soft_files, every_client.soft_files), 0))");
  RETURN_IF_ERROR(query.BindBlob(ClientId().bytes()).Step().status());
  return query.Int(0);
}

absl::Status PostgresTransaction::SetQuota(const Quota& quota) {
  if (quota.scope.kind == QuotaKind::kClient)
    RETURN_IF_ERROR(LockClient(quota.scope.client).status());
  state_->has_quotas = true;
  const QuotaLimits& limits = quota.limits;
  return connection_
      .Prepare("INSERT INTO quotas (client_id, kind, " LIMIT_COLUMNS
               ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (client_id, kind) DO UPDATE SET "
               "soft_bytes = EXCLUDED.soft_bytes, hard_bytes = EXCLUDED.hard_bytes, "
               "soft_files = EXCLUDED.soft_files, hard_files = EXCLUDED.hard_files")
      .BindBlob(quota.scope.client.bytes())
      .Bind(static_cast<int>(quota.scope.kind))
      .Bind(limits.soft_bytes)
      .Bind(limits.hard_bytes)
      .Bind(limits.soft_files)
      .Bind(limits.hard_files)
      .Run();
}

absl::StatusOr<bool> PostgresTransaction::DeleteQuota(const QuotaScope& scope) {
  return connection_.Prepare("DELETE FROM quotas WHERE client_id = $1 AND kind = $2 RETURNING 1")
      .BindBlob(scope.client.bytes())
      .Bind(static_cast<int>(scope.kind))
      .Step();
}

}  // namespace backup::storage::postgres
