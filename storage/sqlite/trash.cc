#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"
#include "storage/sqlite/trash_tally.h"

namespace backup::storage {
namespace {

absl::Status CheckCount(const std::vector<int64_t>& ids) {
  if (ids.size() <= static_cast<size_t>(Transaction::kMaxDeletedVersions)) return absl::OkStatus();
  return absl::InvalidArgumentError("too many versions at once");
}

// When something that is deleted at `time` is noted to have been: not before the newest time that
// was noted, as a clock would have it that is behind, for then it would be purged too early.
absl::StatusOr<absl::Time> DeleteTime(Snapshot& snapshot, absl::Time time) {
  ASSIGN_OR_RETURN(const std::optional<ClockNote> note, snapshot.FindClockNote());
  return note ? std::max(time, note->newest_time) : time;
}

// How the versions in the trash that a filter means are listed: those of all clients in the order
// of an index, the others by looking through it, but those of a file among its own.
constexpr char kAllTrash[] = "SELECT " VERSION_COLUMNS
                             " FROM versions v INDEXED BY versions_trashed JOIN files f "
                             "USING (file_id) WHERE v.delete_time IS NOT NULL "
                             "AND (v.delete_time, v.version_id) > (?, ?) "
                             "ORDER BY v.delete_time, v.version_id LIMIT ?";
constexpr char kTrashOfClient[] = "SELECT " VERSION_COLUMNS
                                  " FROM versions v INDEXED BY versions_trashed JOIN files f "
                                  "USING (file_id) WHERE v.delete_time IS NOT NULL "
                                  "AND f.client_id = ? AND (v.delete_time, v.version_id) > (?, ?) "
                                  "ORDER BY v.delete_time, v.version_id LIMIT ?";
constexpr char kTrashOfFile[] =
    "SELECT " VERSION_COLUMNS
    " FROM files f JOIN versions v INDEXED BY versions_by_file "
    "USING (file_id) WHERE f.client_id = ? AND f.name = ? AND +v.delete_time IS NOT "
    "NULL AND v.version_id < ? ORDER BY v.version_id DESC LIMIT ?";

}  // namespace

absl::StatusOr<Client> SqliteTransaction::FindTrashedClient(const ClientId& id) {
  Query query = database_.Prepare("SELECT " CLIENT_COLUMNS
                                  " FROM clients WHERE client_id = ? AND delete_time > 0");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return ClientNotFound(id);
  return ReadClient(query);
}

absl::StatusOr<Client> SqliteTransaction::FindTrashedClientByName(const std::string& name) {
  Query query = database_.Prepare("SELECT " CLIENT_COLUMNS
                                  " FROM clients WHERE name = ? AND +delete_time > 0 "
                                  "ORDER BY +delete_time DESC, create_time DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return ClientNotFoundByName(name);
  return ReadClient(query);
}

absl::StatusOr<std::vector<Client>> SqliteTransaction::ListTrashedClients(
    const TrashPosition<ClientId>& after, int limit) {
  Query query = database_.Prepare(
      "SELECT " CLIENT_COLUMNS
      " FROM clients WHERE delete_time IS NOT NULL AND (delete_time, client_id) > (?, ?) "
      "ORDER BY delete_time, client_id LIMIT ?");
  return ReadClients(
      query.Bind(absl::ToUnixMicros(after.delete_time)).BindBlob(after.id.bytes()).Bind(limit));
}

absl::StatusOr<std::vector<Version>> SqliteTransaction::ListTrashedVersions(
    const TrashFilter& filter, const TrashPosition<int64_t>& after, int limit) {
  Query query = database_.Prepare(filter.file_name ? kTrashOfFile
                                  : filter.client  ? kTrashOfClient
                                                   : kAllTrash);
  if (filter.client) query.BindBlob(filter.client->bytes());
  if (filter.file_name) query.BindBlob(*filter.file_name);
  if (!filter.file_name) query.Bind(absl::ToUnixMicros(after.delete_time));
  const bool is_unbounded = filter.file_name && after.id == 0;
  query.Bind(is_unbounded ? std::numeric_limits<int64_t>::max() : after.id).Bind(limit);
  std::vector<Version> versions;
  DamagedChunks damaged(database_, recipes_);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return versions;
    ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
    versions.push_back(std::move(version));
  }
}

// Every way into the trash but that of a client, which takes all with it.
absl::StatusOr<bool> SqliteTransaction::Trash(int64_t version_id, absl::Time delete_time) {
  ASSIGN_OR_RETURN(delete_time, DeleteTime(*this, delete_time));
  return database_
      .Prepare(
          "UPDATE versions SET delete_time = ? WHERE version_id = ? AND delete_time IS NULL "
          "RETURNING 1")
      .Bind(absl::ToUnixMicros(delete_time))
      .Bind(version_id)
      .Step();
}

// Every deletion for good that somebody or a job asks for.
absl::Status SqliteTransaction::Remove(int64_t version_id) {
  return database_.Prepare("DELETE FROM versions WHERE version_id = ?").Bind(version_id).Run();
}

absl::StatusOr<bool> SqliteTransaction::Delete(int64_t version_id, const Deletion& deletion) {
  if (!deletion.for_good) return Trash(version_id, deletion.time);
  Query query =
      database_.Prepare("SELECT 1 FROM versions WHERE version_id = ? AND delete_time IS NULL");
  ASSIGN_OR_RETURN(const bool found, query.Bind(version_id).Step());
  if (found) RETURN_IF_ERROR(Remove(version_id));
  return found;
}

absl::Status SqliteTransaction::DeleteVersion(const ClientId& client, const std::string& file_name,
                                              int64_t version_id, const Deletion& deletion) {
  ASSIGN_OR_RETURN(const StoredVersion stored,
                   FindVersion(client, file_name, version_id, /*with_content=*/false));
  ASSIGN_OR_RETURN(const absl::Time now, RemovalTime(deletion.time));
  RETURN_IF_ERROR(CheckRemovable(stored.version.retain_until, now, NameToText(file_name)));
  ASSIGN_OR_RETURN(const bool was_there, Delete(version_id, deletion));
  return was_there ? absl::OkStatus() : VersionNotFound(file_name, version_id);
}

absl::StatusOr<TrashTally> SqliteTransaction::OpenTally(absl::Time delete_time) {
  ASSIGN_OR_RETURN(delete_time, DeleteTime(*this, delete_time));
  return TrashTally(database_, delete_time);
}

absl::StatusOr<std::optional<CountedVersion>> SqliteTransaction::FindRemovable(int64_t version_id,
                                                                               absl::Time now) {
  Query query = database_.Prepare(
      "SELECT v.version_id, v.file_id, f.client_id, v.state, v.size_bytes, "
      "coalesce(v.kept_bytes, v.size_bytes) "
      "FROM versions v JOIN files f USING (file_id) JOIN clients c USING (client_id) "
      "WHERE v.version_id = ? AND v.delete_time IS NULL AND c.delete_time IS NULL "
      "AND coalesce(v.retain_until <= ?, 1)");
  ASSIGN_OR_RETURN(const bool found, query.Bind(version_id).Bind(absl::ToUnixMicros(now)).Step());
  if (!found) return std::nullopt;
  return CountedVersion{query.Int(0),  query.Int(1),
                        query.Blob(2), static_cast<VersionState>(query.Int(3)),
                        query.Int(4),  query.Int(5)};
}

absl::StatusOr<int64_t> SqliteTransaction::DeleteVersions(const std::vector<int64_t>& ids,
                                                          const Deletion& deletion) {
  RETURN_IF_ERROR(CheckCount(ids));
  ASSIGN_OR_RETURN(const absl::Time now, RemovalTime(deletion.time));
  ASSIGN_OR_RETURN(TrashTally tally, OpenTally(deletion.time));
  int64_t deleted = 0;
  for (const int64_t id : ids) {
    ASSIGN_OR_RETURN(const std::optional<CountedVersion> version, FindRemovable(id, now));
    if (!version) continue;
    RETURN_IF_ERROR(deletion.for_good ? Remove(id) : tally.Trash(*version));
    ++deleted;
  }
  RETURN_IF_ERROR(tally.Count());
  return deleted;
}

absl::Status SqliteTransaction::DeleteClient(const ClientId& id, absl::Time delete_time) {
  ASSIGN_OR_RETURN(const Client client, SelectClient(database_, id));
  ASSIGN_OR_RETURN(const absl::Time now, RemovalTime(delete_time));
  RETURN_IF_ERROR(CheckRemovable(client.retain_until, now, NameToText(client.name)));
  ASSIGN_OR_RETURN(delete_time, DeleteTime(*this, delete_time));
  return database_.Prepare("UPDATE clients SET delete_time = ? WHERE client_id = ?")
      .Bind(absl::ToUnixMicros(delete_time))
      .BindBlob(id.bytes())
      .Run();
}

absl::StatusOr<Version> SqliteTransaction::UndeleteVersion(const ClientId& client,
                                                           const std::string& file_name,
                                                           int64_t version_id) {
  RETURN_IF_ERROR(SelectClient(database_, client).status());
  Query query = database_.Prepare(
      "SELECT f.file_id, (SELECT 1 FROM versions v WHERE v.version_id = ? AND "
      "v.file_id = f.file_id) FROM files f WHERE f.client_id = ? AND f.name = ?");
  ASSIGN_OR_RETURN(const bool has_file,
                   query.Bind(version_id).BindBlob(client.bytes()).BindBlob(file_name).Step());
  if (!has_file) return FileNotFound(file_name);
  if (query.IsNull(1)) return VersionNotFound(file_name, version_id);
  RETURN_IF_ERROR(UndeleteVersions({version_id}).status());
  ASSIGN_OR_RETURN(StoredVersion stored, FindVersion(client, file_name, version_id, false));
  return std::move(stored.version);
}

absl::StatusOr<int64_t> SqliteTransaction::UndeleteVersions(const std::vector<int64_t>& ids) {
  RETURN_IF_ERROR(CheckCount(ids));
  int64_t undeleted = 0;
  for (const int64_t id : ids) {
    Query query = database_.Prepare(
        "UPDATE versions SET delete_time = NULL WHERE version_id = ? AND delete_time IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM files f JOIN clients c USING (client_id) "
        "WHERE f.file_id = versions.file_id AND c.delete_time IS NOT NULL) "
        "RETURNING 1");
    ASSIGN_OR_RETURN(const bool was_there, query.Bind(id).Step());
    if (was_there) ++undeleted;
  }
  return undeleted;
}

absl::StatusOr<Client> SqliteTransaction::UndeleteClient(const ClientId& id,
                                                         DuplicateNames policy) {
  ASSIGN_OR_RETURN(const bool is_in_trash, IsTrashed(id, absl::InfiniteFuture()));
  if (!is_in_trash) return SelectClient(database_, id);
  ASSIGN_OR_RETURN(Client client, FindTrashedClient(id));
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
  RETURN_IF_ERROR(database_.Prepare("UPDATE clients SET delete_time = NULL WHERE client_id = ?")
                      .BindBlob(id.bytes())
                      .Run());
  client.delete_time.reset();
  return client;
}

absl::StatusOr<int64_t> SqliteTransaction::PurgeVersions(const std::vector<int64_t>& ids,
                                                         absl::Time deleted_by) {
  RETURN_IF_ERROR(CheckCount(ids));
  int64_t purged = 0;
  for (const int64_t id : ids) {
    Query query = database_.Prepare(
        "SELECT 1 FROM versions WHERE version_id = ?1 AND delete_time <= ?2 "
        "AND coalesce(retain_until <= ?2, 1)");
    ASSIGN_OR_RETURN(const bool is_due, query.Bind(id).Bind(absl::ToUnixMicros(deleted_by)).Step());
    if (!is_due) continue;
    RETURN_IF_ERROR(Remove(id));
    ++purged;
  }
  return purged;
}

absl::StatusOr<bool> SqliteTransaction::IsTrashed(const ClientId& id, absl::Time deleted_by) {
  return database_.Prepare("SELECT 1 FROM clients WHERE client_id = ? AND delete_time <= ?")
      .BindBlob(id.bytes())
      .Bind(absl::ToUnixMicros(deleted_by))
      .Step();
}

absl::StatusOr<PurgedClient> SqliteTransaction::PurgeClient(const ClientId& id,
                                                            absl::Time deleted_by, int limit) {
  PurgedClient purged;
  ASSIGN_OR_RETURN(const bool is_due, IsTrashed(id, deleted_by));
  if (!is_due) return purged;
  std::vector<int64_t> versions;
  {
    Query query = database_.Prepare(
        "SELECT version_id FROM files JOIN versions USING (file_id) WHERE client_id = ? LIMIT ?");
    ASSIGN_OR_RETURN(versions, ReadNumbers(query.BindBlob(id.bytes()).Bind(limit)));
  }
  for (const int64_t version : versions) RETURN_IF_ERROR(Remove(version));
  purged.versions = std::ssize(versions);
  purged.is_gone = purged.versions < limit;
  // What is left is no client that anybody may have back.
  if (!purged.is_gone) {
    RETURN_IF_ERROR(database_.Prepare("UPDATE clients SET delete_time = 0 WHERE client_id = ?")
                        .BindBlob(id.bytes())
                        .Run());
    return purged;
  }
  RETURN_IF_ERROR(
      database_.Prepare("DELETE FROM clients WHERE client_id = ?").BindBlob(id.bytes()).Run());
  return purged;
}

}  // namespace backup::storage
