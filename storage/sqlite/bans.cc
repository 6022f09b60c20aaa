#include "base/status_macros.h"
#include "storage/catalog/ban_row.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<std::optional<Ban>> SqliteTransaction::FindBan(const std::string& network) {
  Query query = database_.Prepare("SELECT " BAN_COLUMNS " FROM bans WHERE network = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(network).Step());
  if (!found) return std::nullopt;
  return ReadBan(query);
}

absl::StatusOr<std::vector<Ban>> SqliteTransaction::ListBans(absl::Time time,
                                                             const std::string& after, int limit) {
  Query query =
      database_.Prepare("SELECT " BAN_COLUMNS
                        " FROM bans WHERE network > ? AND end_time > ? ORDER BY network LIMIT ?");
  query.BindBlob(after).Bind(absl::ToUnixMicros(time)).Bind(limit);
  std::vector<Ban> bans;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return bans;
    bans.push_back(ReadBan(query));
  }
}

absl::Status SqliteTransaction::SetBan(const Ban& ban) {
  return database_
      .Prepare("INSERT OR REPLACE INTO bans (" BAN_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?)")
      .BindBlob(ban.network)
      .Bind(absl::ToUnixMicros(ban.start_time))
      .Bind(absl::ToUnixMicros(ban.end_time))
      .Bind(static_cast<int>(ban.source))
      .BindBlob(ban.author)
      .BindBlob(ban.reason)
      .Bind(ban.strikes)
      .Run();
}

absl::StatusOr<bool> SqliteTransaction::DeleteBan(const std::string& network) {
  const int64_t before = database_.total_changes();
  RETURN_IF_ERROR(database_.Prepare("DELETE FROM bans WHERE network = ?").BindBlob(network).Run());
  return database_.total_changes() > before;
}

absl::StatusOr<int64_t> SqliteTransaction::DropEndedBans(absl::Time time) {
  const int64_t before = database_.total_changes();
  RETURN_IF_ERROR(database_.Prepare("DELETE FROM bans WHERE end_time <= ?")
                      .Bind(absl::ToUnixMicros(time))
                      .Run());
  return database_.total_changes() - before;
}

}  // namespace backup::storage
