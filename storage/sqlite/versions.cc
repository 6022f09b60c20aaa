#include "base/error.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

absl::StatusOr<std::vector<StoredVersion>> ReadStoredVersions(Database& database,
                                                              DamagedChunks& damaged,
                                                              Query& query) {
  std::vector<StoredVersion> versions;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return versions;
    ASSIGN_OR_RETURN(Content content, ReadContent(database, query));
    ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
    versions.push_back({std::move(version), std::move(content)});
  }
}

}  // namespace

absl::StatusOr<std::optional<Version>> SqliteTransaction::FindUpload(const ClientId& client,
                                                                     const UploadId& upload) {
  Query query =
      database_.Prepare("SELECT " VERSION_COLUMNS
                        " FROM versions v JOIN files f USING (file_id) WHERE v.upload_id = ? "
                        "AND f.client_id = ? AND v.delete_time IS NULL "
                        "ORDER BY v.version_id DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(upload.bytes()).BindBlob(client.bytes()).Step());
  if (!found) return std::nullopt;
  DamagedChunks damaged(database_, recipes_);
  ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
  if (version.delete_time) return std::nullopt;  // With its client.
  return version;
}

absl::StatusOr<StoredVersion> SqliteTransaction::FindVersion(const ClientId& client,
                                                             const std::string& file_name,
                                                             int64_t version_id,
                                                             bool with_content) {
  ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(database_, client, file_name));
  Query query = database_.Prepare(
      version_id == 0 ? "SELECT " VERSION_COLUMNS
                        " FROM versions v JOIN files f USING (file_id) "
                        "WHERE v.file_id = ? AND v.state = 2 AND v.delete_time IS NULL "
                        "ORDER BY v.version_id DESC LIMIT 1"
                      : "SELECT " VERSION_COLUMNS
                        " FROM versions v JOIN files f USING (file_id) "
                        "WHERE v.file_id = ? AND v.version_id = ? AND v.delete_time IS NULL");
  query.Bind(file_id);
  if (version_id != 0) query.Bind(version_id);
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return VersionNotFound(file_name, version_id);
  DamagedChunks damaged(database_, recipes_);
  ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
  StoredVersion stored{std::move(version), {}};
  if (with_content) {
    ASSIGN_OR_RETURN(stored.content, ReadContent(database_, query));
  }
  return stored;
}

absl::StatusOr<std::vector<File>> SqliteTransaction::ListFiles(const ClientId& client,
                                                               const std::string& after,
                                                               int limit) {
  RETURN_IF_ERROR(SelectClient(database_, client).status());
  Query query = database_.Prepare(
      "SELECT file_id, name, version_count FROM files "
      "WHERE client_id = ? AND name > ? AND version_count > 0 ORDER BY name LIMIT ?");
  query.BindBlob(client.bytes()).BindBlob(after).Bind(limit);
  std::vector<File> files;
  DamagedChunks damaged(database_, recipes_);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return files;
    File file{query.Blob(1), std::nullopt, query.Int(2)};
    Query newest =
        database_.Prepare("SELECT " VERSION_COLUMNS
                          " FROM versions v JOIN files f USING (file_id) "
                          "WHERE v.file_id = ? AND v.state = 2 AND v.delete_time IS NULL "
                          "ORDER BY v.version_id DESC LIMIT 1");
    ASSIGN_OR_RETURN(const bool verified, newest.Bind(query.Int(0)).Step());
    if (verified) {
      ASSIGN_OR_RETURN(file.newest_verified, ReadVersion(damaged, newest));
    }
    files.push_back(std::move(file));
  }
}

absl::StatusOr<std::vector<Version>> SqliteTransaction::ListVersions(const ClientId& client,
                                                                     const std::string& file_name,
                                                                     int64_t before, int limit) {
  ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(database_, client, file_name));
  Query query =
      database_.Prepare("SELECT " VERSION_COLUMNS
                        " FROM versions v JOIN files f USING (file_id) "
                        "WHERE v.file_id = ? AND v.version_id < ? AND v.delete_time IS NULL "
                        "ORDER BY v.version_id DESC LIMIT ?");
  query.Bind(file_id).Bind(before == 0 ? INT64_MAX : before).Bind(limit);
  std::vector<Version> versions;
  DamagedChunks damaged(database_, recipes_);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return versions;
    ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
    versions.push_back(std::move(version));
  }
}

absl::StatusOr<std::vector<StoredVersion>> SqliteTransaction::ScanVersions(int64_t after,
                                                                           int limit) {
  Query query = database_.Prepare("SELECT " VERSION_COLUMNS
                                  " FROM versions v JOIN files f USING (file_id) "
                                  "WHERE v.version_id > ? ORDER BY v.version_id LIMIT ?");
  DamagedChunks damaged(database_, recipes_);
  return ReadStoredVersions(database_, damaged, query.Bind(after).Bind(limit));
}

absl::StatusOr<std::vector<StoredVersion>> SqliteTransaction::ListUnmovedVersions(int64_t after,
                                                                                  int limit) {
  Query query = database_.Prepare(
      "SELECT " VERSION_COLUMNS
      " FROM versions v INDEXED BY versions_unmoved JOIN files f USING (file_id) "
      "WHERE v.version_id > ? AND v.state <> 3 AND v.form < 3 AND v.chunk_no IS NULL "
      "AND v.recipe_id IS NULL ORDER BY v.version_id LIMIT ?");
  DamagedChunks damaged(database_, recipes_);
  return ReadStoredVersions(database_, damaged, query.Bind(after).Bind(limit));
}

absl::StatusOr<int64_t> SqliteTransaction::ReserveVersionIds(int64_t count) {
  Query query = database_.Prepare(
      "UPDATE totals SET next_version_id = next_version_id + ? RETURNING next_version_id");
  ASSIGN_OR_RETURN(const bool found, query.Bind(count).Step());
  if (!found)
    return MakeError(Reason::kStateCorrupt, "the catalog's totals are missing", "catalog");
  return query.Int(0) - count;
}

absl::StatusOr<int64_t> SqliteTransaction::NextVersionId() {
  Query query = database_.Prepare("SELECT next_version_id FROM totals");
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found)
    return MakeError(Reason::kStateCorrupt, "the catalog's totals are missing", "catalog");
  return query.Int(0);
}

absl::StatusOr<int64_t> SqliteTransaction::SelectOrInsertFile(const ClientId& client,
                                                              const std::string& name) {
  RETURN_IF_ERROR(
      database_.Prepare("INSERT INTO files (client_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING")
          .BindBlob(client.bytes())
          .BindBlob(name)
          .Run());
  // All its versions may be in the trash.
  Query query = database_.Prepare("SELECT file_id FROM files WHERE client_id = ? AND name = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(client.bytes()).BindBlob(name).Step());
  return found ? absl::StatusOr<int64_t>(query.Int(0)) : FileNotFound(name);
}

absl::Status SqliteTransaction::InsertVersion(int64_t file_id, const Version& version,
                                              const ContentReference& reference) {
  Query insert = database_.Prepare(
      "INSERT INTO versions (version_id, file_id, size_bytes, encoded_size, checksum_kind, "
      "checksum, sha256, state, receive_time, form, upload_id, blob_id, blob_size, kept_bytes, "
      "chunk_no, recipe_id, retain_until, arrive_time) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Bind(version.version_id)
      .Bind(file_id)
      .Bind(version.size_bytes)
      .Bind(version.encoded_size)
      .Bind(static_cast<int>(version.checksum_kind))
      .Bind(version.checksum)
      .BindBlob(version.sha256)
      .Bind(static_cast<int>(VersionState::kReceived))
      .Bind(absl::ToUnixMicros(version.receive_time))
      .Bind(static_cast<int>(version.form));
  version.upload_id ? insert.BindBlob(version.upload_id->bytes()) : insert.BindNull();
  BindReference(insert, reference);
  BindTime(insert, version.retain_until);
  BindTime(insert, version.arrive_time);
  return insert.Run();
}

absl::Status SqliteTransaction::InsertInline(int64_t version_id, const NewContent& content) {
  const auto* bytes = std::get_if<std::string>(&content);
  if (bytes == nullptr) return absl::OkStatus();
  return database_.Prepare("INSERT INTO inline_contents VALUES (?, ?)")
      .Bind(version_id)
      .BindBlob(*bytes)
      .Run();
}

absl::StatusOr<Version> SqliteTransaction::AddVersion(const Version& version,
                                                      const NewContent& content,
                                                      const LegacyProfile& observed) {
  ASSIGN_OR_RETURN(Client client, SelectClient(database_, version.client_id));
  if (version.upload_id) {
    ASSIGN_OR_RETURN(const std::optional<Version> known,
                     FindUpload(version.client_id, *version.upload_id));
    if (known) RETURN_IF_ERROR(DropContent(content));
    if (known) return *known;
  }
  RETURN_IF_ERROR(CheckGrowth());
  ASSIGN_OR_RETURN(const ContentReference reference, TakeContent(content));
  ASSIGN_OR_RETURN(const int64_t file_id, SelectOrInsertFile(version.client_id, version.file_name));
  RETURN_IF_ERROR(InsertVersion(file_id, version, reference));
  RETURN_IF_ERROR(InsertInline(version.version_id, content));
  client.legacy.Merge(observed);
  RETURN_IF_ERROR(SetSeen(database_, client, version.receive_time));
  RETURN_IF_ERROR(UpdateClient(database_, client));
  if (version.retain_until) {
    RETURN_IF_ERROR(
        database_
            .Prepare("UPDATE clients SET retain_until = max(coalesce(retain_until, 0), ?) "
                     "WHERE client_id = ?")
            .Bind(absl::ToUnixMicros(*version.retain_until))
            .BindBlob(client.id.bytes())
            .Run());
  }
  Version added = version;
  added.state = VersionState::kReceived;
  return added;
}

absl::StatusOr<bool> SqliteTransaction::ReplaceContent(int64_t version_id, const Content& old,
                                                       const NewContent& content) {
  ASSIGN_OR_RETURN(const bool is_same, HasContent(version_id, old));
  Query query = database_.Prepare(
      "SELECT form FROM versions WHERE version_id = ?1 AND chunk_no IS NULL AND recipe_id IS NULL "
      "AND NOT EXISTS (SELECT 1 FROM damaged_versions WHERE version_id = ?1)");
  ASSIGN_OR_RETURN(const bool may_go, query.Bind(version_id).Step());
  if (!is_same || !may_go) {
    RETURN_IF_ERROR(DropContent(content));
    return false;
  }
  RETURN_IF_ERROR(PutInPlace(version_id, static_cast<StorageForm>(query.Int(0)), content));
  return true;
}

absl::Status SqliteTransaction::PutInPlace(int64_t version_id, StorageForm form,
                                           const NewContent& content) {
  RETURN_IF_ERROR(CheckGrowth());
  ASSIGN_OR_RETURN(const ContentReference reference, TakeContent(content));
  for (const char* const forget : {"DELETE FROM inline_contents WHERE version_id = ?",
                                   "DELETE FROM damaged_versions WHERE version_id = ?"}) {
    RETURN_IF_ERROR(database_.Prepare(forget).Bind(version_id).Run());
  }
  // Also of a chunk that the new content has, too, the old one's reference ends.
  RETURN_IF_ERROR(database_
                      .Prepare("UPDATE versions SET chunk_no = NULL, recipe_id = NULL, "
                               "kept_bytes = kept_bytes WHERE version_id = ?")
                      .Bind(version_id)
                      .Run());
  Query update = database_.Prepare(
      "UPDATE versions SET blob_id = ?, blob_size = ?, kept_bytes = ?, chunk_no = ?, "
      "recipe_id = ?, form = ? WHERE version_id = ?");
  BindReference(update, reference);
  RETURN_IF_ERROR(update.Bind(static_cast<int>(form)).Bind(version_id).Run());
  return InsertInline(version_id, content);
}

}  // namespace backup::storage
