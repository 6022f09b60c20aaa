#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

// Of a version whose client is not in the trash.
#define HAS_CLIENT                                                                        \
  "NOT EXISTS (SELECT 1 FROM files f JOIN clients c USING (client_id) WHERE f.file_id = " \
  "versions.file_id AND c.delete_time IS NOT NULL)"

namespace backup::storage::postgres {
namespace {

absl::Status CheckCount(const std::vector<int64_t>& ids) {
  if (ids.size() <= static_cast<size_t>(Transaction::kMaxDeletedVersions)) return absl::OkStatus();
  return absl::InvalidArgumentError("too many versions at once");
}

// How the versions in the trash that a filter means are listed: those of all clients in the order
// of an index, the others by looking through it, but those of a file among its own.
constexpr char kAllTrash[] = "SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES
                             " WHERE v.delete_time IS NOT NULL "
                             "AND (v.delete_time, v.version_id) > ($1, $2) "
                             "ORDER BY v.delete_time, v.version_id LIMIT $3";
constexpr char kTrashOfClient[] = "SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES
                                  " WHERE v.delete_time IS NOT NULL AND f.client_id = $1 "
                                  "AND (v.delete_time, v.version_id) > ($2, $3) "
                                  "ORDER BY v.delete_time, v.version_id LIMIT $4";
constexpr char kTrashOfFile[] = "SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES
                                " WHERE f.client_id = $1 AND f.name = $2 AND v.delete_time IS NOT "
                                "NULL AND v.version_id < $3 ORDER BY v.version_id DESC LIMIT $4";

}  // namespace

absl::StatusOr<Client> PostgresTransaction::FindTrashedClient(const ClientId& id) {
  Query query = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                    " FROM clients c WHERE client_id = $1 AND delete_time > 0");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return ClientNotFound(id);
  return ReadClient(query);
}

absl::StatusOr<Client> PostgresTransaction::FindTrashedClientByName(const std::string& name) {
  Query query = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                    " FROM clients c WHERE name = $1 AND delete_time > 0 "
                                    "ORDER BY delete_time DESC, create_time DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return ClientNotFoundByName(name);
  return ReadClient(query);
}

absl::StatusOr<std::vector<Client>> PostgresTransaction::ListTrashedClients(
    const TrashPosition<ClientId>& after, int limit) {
  Query query = connection_.Prepare(
      "SELECT " CLIENT_COLUMNS
      " FROM clients c WHERE delete_time IS NOT NULL AND (delete_time, client_id) > ($1, $2) "
      "ORDER BY delete_time, client_id LIMIT $3");
  return ReadClients(
      query.Bind(absl::ToUnixMicros(after.delete_time)).BindBlob(after.id.bytes()).Bind(limit));
}

absl::StatusOr<std::vector<Version>> PostgresTransaction::ListTrashedVersions(
    const TrashFilter& filter, const TrashPosition<int64_t>& after, int limit) {
  Query query = connection_.Prepare(filter.file_name ? kTrashOfFile
                                    : filter.client  ? kTrashOfClient
                                                     : kAllTrash);
  if (filter.client) query.BindBlob(filter.client->bytes());
  if (filter.file_name) query.BindBlob(*filter.file_name);
  if (!filter.file_name) query.Bind(absl::ToUnixMicros(after.delete_time));
  const bool is_unbounded = filter.file_name && after.id == 0;
  query.Bind(is_unbounded ? std::numeric_limits<int64_t>::max() : after.id).Bind(limit);
  DamagedChunks damaged(connection_, recipes_);
  return ReadVersions(damaged, query);
}

absl::StatusOr<int64_t> PostgresTransaction::Delete(const std::vector<int64_t>& ids,
                                                    const Deletion& deletion,
                                                    const ClockState& clock) {
  Query query = connection_.Prepare(
      deletion.for_good ? "DELETE FROM versions WHERE version_id = ANY($1) AND delete_time IS NULL "
                          "RETURNING version_id"
                        : "UPDATE versions SET delete_time = $2 WHERE version_id = ANY($1) AND "
                          "delete_time IS NULL RETURNING version_id");
  query.BindAll(ids);
  // Not before the newest time that was noted, as a clock would have it that is behind.
  const absl::Time time = clock.newest ? std::max(deletion.time, *clock.newest) : deletion.time;
  if (!deletion.for_good) query.Bind(absl::ToUnixMicros(time));
  ASSIGN_OR_RETURN(const std::vector<int64_t> deleted, ReadNumbers(query));
  return std::ssize(deleted);
}

absl::Status PostgresTransaction::DeleteVersion(const ClientId& client,
                                                const std::string& file_name, int64_t version_id,
                                                const Deletion& deletion) {
  RETURN_IF_ERROR(LockOwners({version_id}));
  ASSIGN_OR_RETURN(const StoredVersion stored,
                   FindVersion(client, file_name, version_id, /*with_content=*/false));
  ASSIGN_OR_RETURN(const ClockState clock, ReadClock());
  const absl::Time now = clock.is_distrusted ? absl::InfinitePast() : deletion.time;
  RETURN_IF_ERROR(CheckRemovable(stored.version.retain_until, now, NameToText(file_name)));
  ASSIGN_OR_RETURN(const int64_t deleted, Delete({version_id}, deletion, clock));
  return deleted > 0 ? absl::OkStatus() : VersionNotFound(file_name, version_id);
}

absl::StatusOr<int64_t> PostgresTransaction::DeleteVersions(const std::vector<int64_t>& ids,
                                                            const Deletion& deletion) {
  RETURN_IF_ERROR(CheckCount(ids));
  RETURN_IF_ERROR(LockOwners(ids));
  ASSIGN_OR_RETURN(const ClockState clock, ReadClock());
  const absl::Time now = clock.is_distrusted ? absl::InfinitePast() : deletion.time;
  Query query = connection_.Prepare(
      "SELECT version_id FROM versions WHERE version_id = ANY($1) AND "
      "coalesce(retain_until <= $2, TRUE) AND " HAS_CLIENT);
  ASSIGN_OR_RETURN(const std::vector<int64_t> may_go,
                   ReadNumbers(query.BindAll(ids).Bind(absl::ToUnixMicros(now))));
  return Delete(may_go, deletion, clock);
}

absl::Status PostgresTransaction::DeleteClient(const ClientId& id, absl::Time delete_time) {
  ASSIGN_OR_RETURN(const Client client, LockClient(id));
  ASSIGN_OR_RETURN(const ClockState clock, ReadClock());
  const absl::Time now = clock.is_distrusted ? absl::InfinitePast() : delete_time;
  RETURN_IF_ERROR(CheckRemovable(client.retain_until, now, NameToText(client.name)));
  if (clock.newest) delete_time = std::max(delete_time, *clock.newest);
  return connection_.Prepare("UPDATE clients SET delete_time = $1 WHERE client_id = $2")
      .Bind(absl::ToUnixMicros(delete_time))
      .BindBlob(id.bytes())
      .Run();
}

absl::StatusOr<Version> PostgresTransaction::UndeleteVersion(const ClientId& client,
                                                             const std::string& file_name,
                                                             int64_t version_id) {
  RETURN_IF_ERROR(LockClient(client).status());
  Query query = connection_.Prepare(
      "SELECT f.file_id, (SELECT 1 FROM versions v WHERE v.version_id = $1 AND "
      "v.file_id = f.file_id) FROM files f WHERE f.client_id = $2 AND f.name = $3");
  ASSIGN_OR_RETURN(const bool has_file,
                   query.Bind(version_id).BindBlob(client.bytes()).BindBlob(file_name).Step());
  if (!has_file) return FileNotFound(file_name);
  if (query.IsNull(1)) return VersionNotFound(file_name, version_id);
  RETURN_IF_ERROR(UndeleteVersions({version_id}).status());
  ASSIGN_OR_RETURN(StoredVersion stored, FindVersion(client, file_name, version_id, false));
  return std::move(stored.version);
}

absl::StatusOr<int64_t> PostgresTransaction::UndeleteVersions(const std::vector<int64_t>& ids) {
  RETURN_IF_ERROR(CheckCount(ids));
  RETURN_IF_ERROR(LockOwners(ids));
  Query query = connection_.Prepare(
      "UPDATE versions SET delete_time = NULL WHERE version_id = ANY($1) AND delete_time IS NOT "
      "NULL AND " HAS_CLIENT " RETURNING version_id");
  ASSIGN_OR_RETURN(const std::vector<int64_t> undeleted, ReadNumbers(query.BindAll(ids)));
  return std::ssize(undeleted);
}

absl::StatusOr<Client> PostgresTransaction::UndeleteClient(const ClientId& id,
                                                           DuplicateNames policy) {
  Query query = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                    " FROM clients c WHERE client_id = $1 FOR NO KEY UPDATE OF c");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return ClientNotFound(id);
  Client client = ReadClient(query);
  if (!client.delete_time) return client;
  if (*client.delete_time <= absl::UnixEpoch()) return ClientNotFound(id);  // Half purged.
  RETURN_IF_ERROR(LockName(client.name));
  ASSIGN_OR_RETURN(const std::optional<Client> namesake, NewestNamed(client.name));
  if (namesake && policy == DuplicateNames::kReject) {
    const std::string name = NameToText(client.name);
    return MakeError(
        Reason::kNameTaken,
        absl::StrCat("another client is called ", name, " by now: ", ToUuid(namesake->id),
                     "; delete that one first, or allow two of "
                     "one name (--duplicate_names=allow)"),
        name);
  }
  RETURN_IF_ERROR(connection_.Prepare("UPDATE clients SET delete_time = NULL WHERE client_id = $1")
                      .BindBlob(id.bytes())
                      .Run());
  client.delete_time.reset();
  return client;
}

absl::StatusOr<int64_t> PostgresTransaction::PurgeVersions(const std::vector<int64_t>& ids,
                                                           absl::Time deleted_by) {
  RETURN_IF_ERROR(CheckCount(ids));
  RETURN_IF_ERROR(LockOwners(ids));
  Query query = connection_.Prepare(
      "DELETE FROM versions WHERE version_id = ANY($1) AND delete_time <= $2 "
      "AND coalesce(retain_until <= $2, TRUE) RETURNING version_id");
  ASSIGN_OR_RETURN(const std::vector<int64_t> purged,
                   ReadNumbers(query.BindAll(ids).Bind(absl::ToUnixMicros(deleted_by))));
  return std::ssize(purged);
}

absl::StatusOr<PurgedClient> PostgresTransaction::PurgeClient(const ClientId& id,
                                                              absl::Time deleted_by, int limit) {
  PurgedClient purged;
  Query due = connection_.Prepare(
      "SELECT 1 FROM clients WHERE client_id = $1 AND delete_time <= $2 FOR UPDATE");
  ASSIGN_OR_RETURN(const bool is_due,
                   due.BindBlob(id.bytes()).Bind(absl::ToUnixMicros(deleted_by)).Step());
  if (!is_due) return purged;
  Query versions = connection_.Prepare(
      "DELETE FROM versions WHERE version_id IN (SELECT version_id FROM files JOIN versions "
      "USING (file_id) WHERE client_id = $1 LIMIT $2) RETURNING version_id");
  ASSIGN_OR_RETURN(const std::vector<int64_t> gone,
                   ReadNumbers(versions.BindBlob(id.bytes()).Bind(limit)));
  purged.versions = std::ssize(gone);
  purged.is_gone = purged.versions < limit;
  // What is left is no client that anybody may have back.
  RETURN_IF_ERROR(connection_
                      .Prepare(purged.is_gone
                                   ? "DELETE FROM clients WHERE client_id = $1"
                                   : "UPDATE clients SET delete_time = 0 WHERE client_id = $1")
                      .BindBlob(id.bytes())
                      .Run());
  return purged;
}

}  // namespace backup::storage::postgres
