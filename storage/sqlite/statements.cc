#include "storage/sqlite/statements.h"

#include "base/status_macros.h"
#include "storage/sqlite/rows.h"

namespace backup::storage {

absl::Time StoredTime(absl::Time time) { return absl::FromUnixMicros(absl::ToUnixMicros(time)); }

absl::Status NoteSeen(Database& database, const ClientId& id, absl::Time now) {
  return database
      .Prepare("UPDATE clients SET last_seen_time = max(last_seen_time, ?) WHERE client_id = ?")
      .Bind(absl::ToUnixMicros(now))
      .BindBlob(id.bytes())
      .Run();
}

absl::StatusOr<std::optional<Client>> SelectClientByName(Database& database,
                                                         const std::string& name) {
  Query query = database.Prepare("SELECT " CLIENT_COLUMNS
                                 " FROM clients WHERE name = ? ORDER BY create_time DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return std::nullopt;
  return ReadClient(query);
}

absl::StatusOr<Client> InsertClient(Database& database, const std::string& name, const ClientId& id,
                                    absl::Time now) {
  Client client;
  client.id = id;
  client.name = name;
  client.create_time = client.last_seen_time = StoredTime(now);
  RETURN_IF_ERROR(database
                      .Prepare("INSERT INTO clients (client_id, name, create_time, "
                               "last_seen_time, public_key, sealed_session_key, session_key_bits) "
                               "VALUES (?, ?, ?, ?, x'', x'', 0)")
                      .BindBlob(id.bytes())
                      .BindBlob(name)
                      .Bind(absl::ToUnixMicros(now))
                      .Bind(absl::ToUnixMicros(now))
                      .Run());
  return client;
}

absl::Status UpdateClient(Database& database, const Client& client) {
  const LegacyProfile& legacy = client.legacy;
  Query update = database.Prepare(
      "UPDATE clients SET last_seen_time = ?, public_key = ?, sealed_session_key = ?, "
      "session_key_bits = ?, resends = ?, family = ?, header_version = ?, framing = ?, "
      "file_style = ?, connection_style = ?, last_protocol_error = ?, "
      "last_protocol_error_time = ?, checksum_kind = ?, checksum_refusals = ? "
      "WHERE client_id = ?");
  update.Bind(absl::ToUnixMicros(client.last_seen_time))
      .BindBlob(client.public_key)
      .BindBlob(client.sealed_session_key)
      .Bind(client.session_key_bits)
      .Bind(client.resends)
      .BindBlob(legacy.family)
      .Bind(legacy.header_version)
      .BindBlob(legacy.framing)
      .BindBlob(legacy.file_style)
      .BindBlob(legacy.connection_style)
      .BindBlob(legacy.last_protocol_error);
  if (legacy.last_protocol_error_time) {
    update.Bind(absl::ToUnixMicros(*legacy.last_protocol_error_time));
  } else {
    update.BindNull();
  }
  return update.Bind(legacy.checksum_kind ? static_cast<int>(*legacy.checksum_kind) : 0)
      .Bind(legacy.checksum_refusals)
      .BindBlob(client.id.bytes())
      .Run();
}

absl::StatusOr<std::vector<BlobId>> ReadBlobIds(Query& query) {
  std::vector<BlobId> blobs;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return blobs;
    if (const std::optional<BlobId> id = BlobId::FromBytes(query.Blob(0))) blobs.push_back(*id);
  }
}

absl::StatusOr<std::optional<Version>> SelectUpload(Database& database, const ClientId& client,
                                                    const UploadId& upload) {
  Query query =
      database.Prepare("SELECT " VERSION_COLUMNS
                       " FROM versions v JOIN files f USING (file_id) WHERE v.upload_id = ? "
                       "AND f.client_id = ?");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(upload.bytes()).BindBlob(client.bytes()).Step());
  if (!found) return std::nullopt;
  return ReadVersion(query);
}

absl::StatusOr<int64_t> SelectOrInsertFile(Database& database, const ClientId& client,
                                           const std::string& name) {
  RETURN_IF_ERROR(
      database.Prepare("INSERT INTO files (client_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING")
          .BindBlob(client.bytes())
          .BindBlob(name)
          .Run());
  return SelectFileId(database, client, name);
}

absl::Status InsertVersion(Database& database, int64_t file_id, const Version& version,
                           const Content& content) {
  Query insert =
      database.Prepare("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)");
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
  const auto* blob = std::get_if<BlobId>(&content);
  blob != nullptr ? insert.BindBlob(blob->bytes()) : insert.BindNull();
  RETURN_IF_ERROR(insert.Run());
  const auto* bytes = std::get_if<std::string>(&content);
  if (bytes == nullptr) return absl::OkStatus();
  return database.Prepare("INSERT INTO inline_contents VALUES (?, ?)")
      .Bind(version.version_id)
      .BindBlob(*bytes)
      .Run();
}

absl::Status ApplyOutcome(Database& database, int64_t version_id, Outcome outcome, absl::Time now) {
  switch (outcome) {
    case Outcome::kVerified:
      return database.Prepare("UPDATE versions SET state = 2, verify_time = ? WHERE version_id = ?")
          .Bind(absl::ToUnixMicros(now))
          .Bind(version_id)
          .Run();
    case Outcome::kRetrying:
      return database.Prepare("DELETE FROM versions WHERE version_id = ?").Bind(version_id).Run();
    case Outcome::kAbandoned:
      RETURN_IF_ERROR(
          database.Prepare("UPDATE versions SET state = 3, blob_id = NULL WHERE version_id = ?")
              .Bind(version_id)
              .Run());
      return database.Prepare("DELETE FROM inline_contents WHERE version_id = ?")
          .Bind(version_id)
          .Run();
  }
  return absl::InternalError("unknown outcome");
}

}  // namespace backup::storage
