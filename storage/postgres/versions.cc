#include <limits>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

#define FIND_UPLOAD                                                             \
  "SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES                             \
  " WHERE v.upload_id = $1 AND c.client_id = $2 AND v.delete_time IS NULL AND " \
  "c.delete_time IS NULL ORDER BY v.version_id DESC LIMIT 1"

#define FIND_VERSION                                                                          \
  "SELECT " VERSION_COLUMNS ", CASE WHEN $3 THEN " INLINE_CONTENT " END FROM " VERSION_TABLES \
  " WHERE c.client_id = $1 AND f.name = $2 AND v.delete_time IS NULL AND c.delete_time IS NULL "

namespace backup::storage::postgres {

absl::StatusOr<int64_t> PostgresTransaction::SelectFileId(const ClientId& client,
                                                          const std::string& file_name) {
  Query query = connection_.Prepare(
      "SELECT file_id FROM files f JOIN clients c USING (client_id) WHERE f.client_id = $1 "
      "AND f.name = $2 AND f.version_count > 0 AND c.delete_time IS NULL");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(client.bytes()).BindBlob(file_name).Step());
  if (found) return query.Int(0);
  RETURN_IF_ERROR(SelectClient(client).status());
  return FileNotFound(file_name);
}

absl::StatusOr<std::vector<StoredVersion>> PostgresTransaction::ReadStoredVersions(Query& query) {
  std::vector<StoredVersion> versions;
  DamagedChunks damaged(connection_, recipes_);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return versions;
    ASSIGN_OR_RETURN(Content content, ReadContent(query));
    ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
    versions.push_back({std::move(version), std::move(content)});
  }
}

absl::StatusOr<std::optional<Version>> PostgresTransaction::FindUpload(const ClientId& client,
                                                                       const UploadId& upload) {
  Query query = connection_.Prepare(FIND_UPLOAD);
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(upload.bytes()).BindBlob(client.bytes()).Step());
  if (!found) return std::nullopt;
  DamagedChunks damaged(connection_, recipes_);
  return ReadVersion(damaged, query);
}

absl::StatusOr<StoredVersion> PostgresTransaction::FindVersion(const ClientId& client,
                                                               const std::string& file_name,
                                                               int64_t version_id,
                                                               bool with_content) {
  Query query = connection_.Prepare(version_id == 0 ? FIND_VERSION
                                        "AND v.state = 2 ORDER BY v.version_id DESC LIMIT 1"
                                                    : FIND_VERSION "AND v.version_id = $4");
  query.BindBlob(client.bytes()).BindBlob(file_name).BindBool(with_content);
  if (version_id != 0) query.Bind(version_id);
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) {
    RETURN_IF_ERROR(SelectFileId(client, file_name).status());
    return VersionNotFound(file_name, version_id);
  }
  DamagedChunks damaged(connection_, recipes_);
  ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
  StoredVersion stored{std::move(version), {}};
  if (with_content) {
    ASSIGN_OR_RETURN(stored.content, ReadContent(query));
  }
  return stored;
}

absl::StatusOr<std::vector<File>> PostgresTransaction::ListFiles(const ClientId& client,
                                                                 const std::string& after,
                                                                 int limit) {
  RETURN_IF_ERROR(SelectClient(client).status());
  Query query = connection_.Prepare(
      "SELECT f.name, f.version_count, v.version_id IS NOT NULL, " VERSION_COLUMNS
      " FROM (SELECT * FROM files WHERE client_id = $1 AND name > $2 AND version_count > 0 "
      "ORDER BY name LIMIT $3) f JOIN clients c USING (client_id) LEFT JOIN LATERAL (SELECT * FROM "
      "versions n WHERE n.file_id = f.file_id AND n.state = 2 AND n.delete_time IS NULL "
      "ORDER BY n.version_id DESC LIMIT 1) v ON true ORDER BY f.name");
  query.BindBlob(client.bytes()).BindBlob(after).Bind(limit);
  std::vector<File> files;
  DamagedChunks damaged(connection_, recipes_);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return files;
    File file{query.Blob(0), std::nullopt, query.Int(1)};
    if (query.Int(2) != 0) {
      ASSIGN_OR_RETURN(file.newest_verified, ReadVersion(damaged, query, 3));
    }
    files.push_back(std::move(file));
  }
}

absl::StatusOr<std::vector<Version>> PostgresTransaction::ListVersions(const ClientId& client,
                                                                       const std::string& file_name,
                                                                       int64_t before, int limit) {
  ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(client, file_name));
  Query query =
      connection_.Prepare("SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES
                          " WHERE v.file_id = $1 AND v.version_id < $2 AND v.delete_time IS NULL "
                          "ORDER BY v.version_id DESC LIMIT $3");
  query.Bind(file_id).Bind(before == 0 ? INT64_MAX : before).Bind(limit);
  DamagedChunks damaged(connection_, recipes_);
  return ReadVersions(damaged, query);
}

absl::StatusOr<std::vector<StoredVersion>> PostgresTransaction::ScanVersions(int64_t after,
                                                                             int limit) {
  Query query =
      connection_.Prepare("SELECT " VERSION_COLUMNS ", " INLINE_CONTENT " FROM " VERSION_TABLES
                          " WHERE v.version_id > $1 ORDER BY v.version_id LIMIT $2");
  return ReadStoredVersions(query.Bind(after).Bind(limit));
}

absl::StatusOr<std::vector<StoredVersion>> PostgresTransaction::ListUnmovedVersions(int64_t after,
                                                                                    int limit) {
  Query query = connection_.Prepare(
      "SELECT " VERSION_COLUMNS ", " INLINE_CONTENT " FROM " VERSION_TABLES
      " WHERE v.version_id > $1 AND v.state <> 3 AND v.form < 3 AND v.chunk_no IS NULL "
      "AND v.recipe_id IS NULL ORDER BY v.version_id LIMIT $2");
  return ReadStoredVersions(query.Bind(after).Bind(limit));
}

absl::StatusOr<int64_t> PostgresTransaction::ReserveVersionIds(int64_t count) {
  Query query = connection_.Prepare("SELECT reserve_version_ids($1)");
  RETURN_IF_ERROR(query.Bind(count).Step().status());
  return query.Int(0);
}

absl::StatusOr<int64_t> PostgresTransaction::NextVersionId() {
  Query query = connection_.Prepare("SELECT last_value + is_called::int FROM version_ids");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::Status PostgresTransaction::InsertVersion(const Version& version,
                                                const ContentReference& reference) {
  Query insert = connection_.Prepare(
      "WITH file AS (INSERT INTO files (client_id, name, version_count, last_version_id) "
      "VALUES ($1, $2, 1, $3) ON CONFLICT (client_id, name) DO UPDATE SET "
      "version_count = files.version_count + 1, last_version_id = EXCLUDED.last_version_id "
      "RETURNING file_id) "
      "INSERT INTO versions (version_id, file_id, size_bytes, encoded_size, checksum_kind, "
      "checksum, sha256, state, receive_time, form, upload_id, blob_id, blob_size, kept_bytes, "
      "chunk_no, recipe_id, retain_until, arrive_time) SELECT $3::bigint, file_id, $4::bigint, "
      "$5::bigint, $6::bigint, $7::bigint, $8::bytea, 1, $9::bigint, $10::bigint, $11::bytea, "
      "$12::bytea, $13::bigint, $14::bigint, $15::bigint, $16::bigint, $17::bigint, $18::bigint "
      "FROM file");
  static_assert(static_cast<int>(VersionState::kReceived) == 1);
  insert.BindBlob(version.client_id.bytes())
      .BindBlob(version.file_name)
      .Bind(version.version_id)
      .Bind(version.size_bytes)
      .Bind(version.encoded_size)
      .Bind(static_cast<int>(version.checksum_kind))
      .Bind(version.checksum)
      .BindBlob(version.sha256)
      .Bind(absl::ToUnixMicros(version.receive_time))
      .Bind(static_cast<int>(version.form));
  version.upload_id ? insert.BindBlob(version.upload_id->bytes()) : insert.BindNull();
  BindReference(insert, reference);
  BindTime(insert, version.retain_until);
  BindTime(insert, version.arrive_time);
  return insert.Run();
}

absl::Status PostgresTransaction::InsertInline(int64_t version_id, const NewContent& content) {
  const auto* bytes = std::get_if<std::string>(&content);
  if (bytes == nullptr) return absl::OkStatus();
  return connection_.Prepare("INSERT INTO inline_contents VALUES ($1, $2)")
      .Bind(version_id)
      .BindBlob(*bytes)
      .Run();
}

absl::StatusOr<Version> PostgresTransaction::AddVersion(const Version& version,
                                                        const NewContent& content,
                                                        const LegacyProfile& observed) {
  // All that is to be known is asked for in one round trip.
  Query locked = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                     " FROM clients c WHERE c.client_id = $1 AND c.delete_time IS "
                                     "NULL FOR NO KEY UPDATE OF c");
  locked.BindBlob(version.client_id.bytes()).Start();
  Query known = connection_.Prepare(FIND_UPLOAD);
  if (version.upload_id)
    known.BindBlob(version.upload_id->bytes()).BindBlob(version.client_id.bytes()).Start();
  Query file =
      connection_.Prepare("SELECT version_count > 0 FROM files WHERE client_id = $1 AND name = $2");
  file.BindBlob(version.client_id.bytes()).BindBlob(version.file_name).Start();
  const auto queries = AskForContent(content);
  ASSIGN_OR_RETURN(const bool has_client, locked.Step());
  if (!has_client) {
    RETURN_IF_ERROR(ForgetNewRows(*queries));
    return ClientNotFound(version.client_id);
  }
  ASSIGN_OR_RETURN(const bool is_known,
                   version.upload_id ? known.Step() : absl::StatusOr<bool>(false));
  if (is_known) {
    RETURN_IF_ERROR(DropContent(*queries, content));
    DamagedChunks damaged(connection_, recipes_);
    return ReadVersion(damaged, known);
  }
  ASSIGN_OR_RETURN(const bool has_file, file.Step());
  ASSIGN_OR_RETURN(const ContentReference reference, TakeContent(*queries, content));
  RETURN_IF_ERROR(InsertVersion(version, reference));
  RETURN_IF_ERROR(InsertInline(version.version_id, content));
  const bool was_shown = has_file && file.Int(0) != 0;
  const bool was_in_trash = has_file && !was_shown;
  const bool is_unmoved = !IsClientsForm(version.form) && !reference.chunks;
  totals().Add(Total::kFiles, was_shown ? 0 : 1);
  totals().Add(Total::kTrashFiles, was_in_trash ? -1 : 0);
  totals().Add(Total::kVersions, 1);
  totals().Add(Total::kStoredBytes, version.size_bytes);
  totals().Add(Total::kBlobBytes, reference.blob_size);
  totals().Add(Total::kUnmovedVersions, is_unmoved ? 1 : 0);
  Client client = ReadClient(locked);
  client.legacy.Merge(observed);
  RETURN_IF_ERROR(SetSeen(client, version.receive_time));
  ClientChange change;
  change.retain_until = version.retain_until;
  change.files = was_shown ? 0 : 1;
  change.trash_files = was_in_trash ? -1 : 0;
  change.versions = 1;
  change.stored_bytes = version.size_bytes;
  change.kept_bytes = reference.kept_bytes;
  RETURN_IF_ERROR(UpdateClient(client, change));
  Version added = version;
  added.state = VersionState::kReceived;
  return added;
}

absl::StatusOr<bool> PostgresTransaction::ReplaceContent(int64_t version_id, const Content& old,
                                                         const NewContent& content) {
  RETURN_IF_ERROR(LockOwners({version_id}));
  ASSIGN_OR_RETURN(const bool is_same, HasContent(version_id, old));
  Query query = connection_.Prepare(
      "SELECT form FROM versions WHERE version_id = $1 AND chunk_no IS NULL AND recipe_id IS NULL "
      "AND NOT EXISTS (SELECT 1 FROM damaged_versions WHERE version_id = $1)");
  ASSIGN_OR_RETURN(const bool may_go, query.Bind(version_id).Step());
  if (!is_same || !may_go) {
    const auto queries = AskForContent(content);
    RETURN_IF_ERROR(DropContent(*queries, content));
    return false;
  }
  RETURN_IF_ERROR(PutInPlace(version_id, static_cast<StorageForm>(query.Int(0)), content));
  return true;
}

absl::Status PostgresTransaction::PutInPlace(int64_t version_id, StorageForm form,
                                             const NewContent& content) {
  const auto queries = AskForContent(content);
  ASSIGN_OR_RETURN(const ContentReference reference, TakeContent(*queries, content));
  for (const char* const forget : {"DELETE FROM inline_contents WHERE version_id = $1",
                                   "DELETE FROM damaged_versions WHERE version_id = $1"}) {
    RETURN_IF_ERROR(connection_.Prepare(forget).Bind(version_id).Run());
  }
  // Also of a chunk that the new content has, too, the old one's reference ends.
  RETURN_IF_ERROR(connection_
                      .Prepare("UPDATE versions SET chunk_no = NULL, recipe_id = NULL, "
                               "kept_bytes = kept_bytes WHERE version_id = $1")
                      .Bind(version_id)
                      .Run());
  Query update = connection_.Prepare(
      "UPDATE versions SET blob_id = $1, blob_size = $2, kept_bytes = $3, chunk_no = $4, "
      "recipe_id = $5, form = $6 WHERE version_id = $7");
  BindReference(update, reference);
  RETURN_IF_ERROR(update.Bind(static_cast<int>(form)).Bind(version_id).Run());
  return InsertInline(version_id, content);
}

}  // namespace backup::storage::postgres
