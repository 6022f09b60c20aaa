#include "storage/sqlite/rows.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::storage {
namespace {

absl::Time TimeColumn(const Query& row, int column) {
  return absl::FromUnixMicros(row.Int(column));
}

std::optional<absl::Time> OptionalTimeColumn(const Query& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return TimeColumn(row, column);
}

constexpr int kVersionIdColumn = 2;
constexpr int kStateColumn = 8;
constexpr int kBlobIdColumn = 13;

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
  return client;
}

Version ReadVersion(const Query& row) {
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
  return version;
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
  Query content = database.Prepare("SELECT content FROM inline_contents WHERE version_id = ?");
  ASSIGN_OR_RETURN(const bool found, content.Bind(row.Int(kVersionIdColumn)).Step());
  if (!found) return Content();
  return Content(content.Blob(0));
}

absl::StatusOr<Client> SelectClient(Database& database, const ClientId& id) {
  Query query = database.Prepare("SELECT " CLIENT_COLUMNS " FROM clients WHERE client_id = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return ClientNotFound(id);
  return ReadClient(query);
}

absl::StatusOr<int64_t> SelectFileId(Database& database, const ClientId& client,
                                     const std::string& file_name) {
  Query query = database.Prepare("SELECT file_id FROM files WHERE client_id = ? AND name = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(client.bytes()).BindBlob(file_name).Step());
  if (found) return query.Int(0);
  RETURN_IF_ERROR(SelectClient(database, client).status());
  const std::string name = NameToText(file_name);
  return MakeError(Reason::kFileNotFound, absl::StrCat("the client has no file ", name), name);
}

absl::Status ClientNotFound(const ClientId& id) {
  return MakeError(Reason::kClientNotFound, absl::StrCat("there is no client ", ToUuid(id)),
                   ToUuid(id));
}

absl::Status VersionNotFound(const std::string& file_name, int64_t version_id) {
  const std::string name = NameToText(file_name);
  return MakeError(Reason::kVersionNotFound,
                   version_id == 0
                       ? absl::StrCat("no version of ", name, " was ever verified")
                       : absl::StrCat("the file ", name, " has no version ", version_id),
                   version_id == 0 ? name : absl::StrCat(name, "@", version_id));
}

}  // namespace backup::storage
