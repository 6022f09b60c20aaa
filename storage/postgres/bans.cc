#include "base/status_macros.h"
#include "storage/catalog/ban_row.h"
#include "storage/postgres/postgres_transaction.h"

namespace backup::storage::postgres {

absl::StatusOr<std::optional<Ban>> PostgresTransaction::FindBan(const std::string& network) {
  Query query = connection_.Prepare("SELECT " BAN_COLUMNS " FROM bans WHERE network = $1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(network).Step());
  if (!found) return std::nullopt;
  return ReadBan(query);
}

absl::StatusOr<std::vector<Ban>> PostgresTransaction::ListBans(absl::Time time,
                                                               const std::string& after,
                                                               int limit) {
  Query query = connection_.Prepare(
      "SELECT " BAN_COLUMNS
      " FROM bans WHERE network > $1 AND end_time > $2 ORDER BY network LIMIT $3");
  query.BindBlob(after).Bind(absl::ToUnixMicros(time)).Bind(limit);
  std::vector<Ban> bans;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return bans;
    bans.push_back(ReadBan(query));
  }
}

absl::Status PostgresTransaction::SetBan(const Ban& ban) {
  return connection_
      .Prepare("INSERT INTO bans (" BAN_COLUMNS
               ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (network) DO UPDATE SET "
               "start_time = EXCLUDED.start_time, end_time = EXCLUDED.end_time, "
               "source = EXCLUDED.source, author = EXCLUDED.author, reason = EXCLUDED.reason, "
               "strikes = EXCLUDED.strikes")
      .BindBlob(ban.network)
      .Bind(absl::ToUnixMicros(ban.start_time))
      .Bind(absl::ToUnixMicros(ban.end_time))
      .Bind(static_cast<int>(ban.source))
      .BindBlob(ban.author)
      .BindBlob(ban.reason)
      .Bind(ban.strikes)
      .Run();
}

absl::StatusOr<bool> PostgresTransaction::DeleteBan(const std::string& network) {
  return connection_.Prepare("DELETE FROM bans WHERE network = $1 RETURNING 1")
      .BindBlob(network)
      .Step();
}

absl::StatusOr<int64_t> PostgresTransaction::DropEndedBans(absl::Time time) {
  Query query = connection_.Prepare(
      "WITH dropped AS (DELETE FROM bans WHERE end_time <= $1 RETURNING 1) "
      "SELECT count(*) FROM dropped");
  RETURN_IF_ERROR(query.Bind(absl::ToUnixMicros(time)).Step().status());
  return query.Int(0);
}

}  // namespace backup::storage::postgres
