#include "storage/sqlite/rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"

// The columns that UpdateClient() binds, in its order.
#define CLIENT_CHANGES                                                                 \
  "last_seen_time = ?, public_key = ?, sealed_session_key = ?, session_key_bits = ?, " \
  "resends = ?, family = ?, header_version = ?, framing = ?, file_style = ?, "         \
  "connection_style = ?, last_protocol_error = ?, last_protocol_error_time = ?, "      \
  "checksum_kind = ?, checksum_refusals = ?"

namespace backup::storage {
namespace {

absl::Time TimeColumn(const Query& row, int column) {
  return absl::FromUnixMicros(row.Int(column));
}

constexpr int kVersionIdColumn = 2;
constexpr int kStateColumn = 8;
constexpr int kBlobIdColumn = 13;
constexpr int kChunkColumn = 14;
constexpr int kRecipeColumn = 15;
constexpr int kMarkColumn = 17;

LegacyProfile ReadLegacyProfile(const Query& row) {
  LegacyProfile legacy;
  legacy.family = row.Blob(8);
  legacy.header_version = static_cast<int>(row.Int(9));
  legacy.framing = row.Blob(10);
  legacy.file_style = row.Blob(11);
  legacy.connection_style = row.Blob(12);
  legacy.last_protocol_error = row.Blob(13);
  legacy.last_protocol_error_time = OptionalTimeColumn(row, 14);
  if (row.Int(15) != 0) legacy.checksum_kind = static_cast<ChecksumKind>(row.Int(15));
  legacy.checksum_refusals = static_cast<int>(row.Int(16));
  return legacy;
}

}  // namespace

absl::Time StoredTime(absl::Time time) { return absl::FromUnixMicros(absl::ToUnixMicros(time)); }

std::optional<absl::Time> OptionalTimeColumn(const Query& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return TimeColumn(row, column);
}

void BindTime(Query& query, std::optional<absl::Time> time) {
  time ? query.Bind(absl::ToUnixMicros(*time)) : query.BindNull();
}

Client ReadClient(const Query& row) {
  Client client;
  client.id = ClientId::FromBytes(row.Blob(0)).value_or(ClientId());
  client.name = row.Blob(1);
  client.create_time = TimeColumn(row, 2);
  client.last_seen_time = TimeColumn(row, 3);
  client.public_key = row.Blob(4);
  client.sealed_session_key = row.Blob(5);
  client.session_key_bits = static_cast<int>(row.Int(6));
  client.last_verified_time = OptionalTimeColumn(row, 7);
  client.legacy = ReadLegacyProfile(row);
  client.stored_bytes = row.Int(17);
  client.resends = row.Int(18);
  client.kept_bytes = row.Int(19);
  client.retain_until = OptionalTimeColumn(row, 20);
  client.file_count = row.Int(21);
  client.version_count = row.Int(22);
  client.delete_time = OptionalTimeColumn(row, 23);
  return client;
}

absl::StatusOr<std::vector<Client>> ReadClients(Query& query) {
  std::vector<Client> clients;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return clients;
    clients.push_back(ReadClient(query));
  }
}

absl::StatusOr<Version> ReadVersion(DamagedChunks& damaged, const Query& row) {
  Version version;
  version.client_id = ClientId::FromBytes(row.Blob(0)).value_or(ClientId());
  version.file_name = row.Blob(1);
  version.version_id = row.Int(kVersionIdColumn);
  version.size_bytes = row.Int(3);
  version.encoded_size = row.Int(4);
  version.checksum_kind = static_cast<ChecksumKind>(row.Int(5));
  version.checksum = static_cast<uint32_t>(row.Int(6));
  version.sha256 = row.Blob(7);
  version.state = static_cast<VersionState>(row.Int(kStateColumn));
  version.receive_time = TimeColumn(row, 9);
  version.verify_time = OptionalTimeColumn(row, 10);
  version.form = static_cast<StorageForm>(row.Int(11));
  if (!row.IsNull(12)) version.upload_id = UploadId::FromBytes(row.Blob(12));
  version.retain_until = OptionalTimeColumn(row, 16);
  version.delete_time = OptionalTimeColumn(row, 18);
  version.arrive_time = OptionalTimeColumn(row, 19);
  version.is_damaged = row.Int(kMarkColumn) != 0;
  if (version.is_damaged) return version;
  ASSIGN_OR_RETURN(version.is_damaged,
                   damaged.Has({row.Int(kChunkColumn), row.Int(kRecipeColumn)}));
  return version;
}

absl::StatusOr<std::vector<int64_t>> ReadNumbers(Query& query) {
  std::vector<int64_t> numbers;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return numbers;
    numbers.push_back(query.Int(0));
  }
}

absl::StatusOr<Content> ReadContent(Database& database, const Query& row) {
  if (static_cast<VersionState>(row.Int(kStateColumn)) == VersionState::kAbandoned)
    return Content();
  if (!row.IsNull(kBlobIdColumn)) {
    const std::optional<BlobId> id = BlobId::FromBytes(row.Blob(kBlobIdColumn));
    if (!id)
      return MakeError(Reason::kStateCorrupt, "a blob id in the catalog is damaged", "catalog");
    return Content(*id);
  }
  if (!row.IsNull(kChunkColumn) || !row.IsNull(kRecipeColumn))
    return Content(ChunkList{row.Int(kChunkColumn), row.Int(kRecipeColumn)});
  Query content = database.Prepare("SELECT content FROM inline_contents WHERE version_id = ?");
  ASSIGN_OR_RETURN(const bool found, content.Bind(row.Int(kVersionIdColumn)).Step());
  if (!found) return Content();
  return Content(content.Blob(0));
}

void BindReference(Query& query, const ContentReference& reference) {
  reference.blob ? query.BindBlob(reference.blob->bytes()) : query.BindNull();
  query.Bind(reference.blob_size).Bind(reference.kept_bytes);
  const ChunkList chunks = reference.chunks.value_or(ChunkList());
  const bool has_recipe = chunks.recipe != 0;
  reference.chunks && !has_recipe ? query.Bind(chunks.chunk) : query.BindNull();
  has_recipe ? query.Bind(chunks.recipe) : query.BindNull();
}

absl::StatusOr<Client> SelectClient(Database& database, const ClientId& id) {
  Query query = database.Prepare("SELECT " CLIENT_COLUMNS
                                 " FROM clients WHERE client_id = ? AND delete_time IS NULL");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return ClientNotFound(id);
  return ReadClient(query);
}

absl::StatusOr<int64_t> SelectFileId(Database& database, const ClientId& client,
                                     const std::string& file_name) {
  Query query = database.Prepare(
      "SELECT file_id FROM files f JOIN clients c USING (client_id) WHERE f.client_id = ? "
      "AND f.name = ? AND f.version_count > 0 AND c.delete_time IS NULL");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(client.bytes()).BindBlob(file_name).Step());
  if (found) return query.Int(0);
  RETURN_IF_ERROR(SelectClient(database, client).status());
  return FileNotFound(file_name);
}

absl::Status MendRegistration(Database& database, const ClientId& id, absl::Time now) {
  return database
      .Prepare(
          "UPDATE clients SET create_time = ? WHERE client_id = ? AND create_time > ? AND "
          "NOT EXISTS (SELECT 1 FROM clients other WHERE other.name = clients.name AND "
          "other.client_id <> clients.client_id)")
      .Bind(absl::ToUnixMicros(now))
      .BindBlob(id.bytes())
      .Bind(absl::ToUnixMicros(std::max(now, SystemClock().Now()) + kMaxClockStep))
      .Run();
}

absl::Status SetSeen(Database& database, Client& client, absl::Time now) {
  client.last_seen_time = LaterContact(client.last_seen_time, StoredTime(now));
  if (client.create_time <= client.last_seen_time) return absl::OkStatus();
  return MendRegistration(database, client.id, now);
}

absl::Status NoteSeen(Database& database, const ClientId& id, absl::Time now) {
  const int64_t contact = absl::ToUnixMicros(now);
  RETURN_IF_ERROR(database
                      .Prepare("UPDATE clients SET last_seen_time = ? WHERE client_id = ? AND "
                               "last_seen_time NOT BETWEEN ? AND ?")
                      .Bind(contact)
                      .BindBlob(id.bytes())
                      .Bind(contact)
                      .Bind(absl::ToUnixMicros(std::max(now, SystemClock().Now()) + kMaxClockStep))
                      .Run());
  return MendRegistration(database, id, now);
}

absl::Status UpdateClient(Database& database, const Client& client,
                          std::optional<absl::Time> verified) {
  const LegacyProfile& legacy = client.legacy;
  Query update = database.Prepare(
      verified ? "UPDATE clients SET " CLIENT_CHANGES ", last_verified_time = ? WHERE client_id = ?"
               : "UPDATE clients SET " CLIENT_CHANGES " WHERE client_id = ?");
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
  BindTime(update, legacy.last_protocol_error_time);
  update.Bind(legacy.checksum_kind ? static_cast<int>(*legacy.checksum_kind) : 0)
      .Bind(legacy.checksum_refusals);
  if (verified) update.Bind(absl::ToUnixMicros(*verified));
  return update.BindBlob(client.id.bytes()).Run();
}

}  // namespace backup::storage
