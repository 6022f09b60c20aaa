#include "storage/postgres/rows.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::storage::postgres {
namespace {

// Of VERSION_COLUMNS.
constexpr int kStateColumn = 8;
constexpr int kBlobIdColumn = 13;
constexpr int kChunkColumn = 14;
constexpr int kRecipeColumn = 15;
constexpr int kMarkColumn = 17;
constexpr int kMayHaveDamagedColumn = 20;
constexpr int kInlineColumn = 21;

absl::Time TimeColumn(const Query& row, int column) {
  return absl::FromUnixMicros(row.Int(column));
}

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

absl::Status DamagedBlobId() {
  return MakeError(Reason::kStateCorrupt, "a blob id in the catalog is damaged", "catalog");
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

absl::StatusOr<Version> ReadVersion(DamagedChunks& damaged, const Query& row, int column) {
  const auto at = [column](int n) { return column + n; };
  Version version;
  version.client_id = ClientId::FromBytes(row.Blob(at(0))).value_or(ClientId());
  version.file_name = row.Blob(at(1));
  version.version_id = row.Int(at(2));
  version.size_bytes = row.Int(at(3));
  version.encoded_size = row.Int(at(4));
  version.checksum_kind = static_cast<ChecksumKind>(row.Int(at(5)));
  version.checksum = static_cast<uint32_t>(row.Int(at(6)));
  version.sha256 = row.Blob(at(7));
  version.state = static_cast<VersionState>(row.Int(at(kStateColumn)));
  version.receive_time = TimeColumn(row, at(9));
  version.verify_time = OptionalTimeColumn(row, at(10));
  version.form = static_cast<StorageForm>(row.Int(at(11)));
  if (!row.IsNull(at(12))) version.upload_id = UploadId::FromBytes(row.Blob(at(12)));
  version.retain_until = OptionalTimeColumn(row, at(16));
  version.delete_time = OptionalTimeColumn(row, at(18));
  version.arrive_time = OptionalTimeColumn(row, at(19));
  version.is_damaged = row.Int(at(kMarkColumn)) != 0;
  if (version.is_damaged || row.Int(at(kMayHaveDamagedColumn)) == 0) return version;
  ASSIGN_OR_RETURN(version.is_damaged, damaged.HasOfRecipe(row.Int(at(kRecipeColumn))));
  return version;
}

absl::StatusOr<std::vector<Version>> ReadVersions(DamagedChunks& damaged, Query& query) {
  std::vector<Version> versions;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return versions;
    ASSIGN_OR_RETURN(Version version, ReadVersion(damaged, query));
    versions.push_back(std::move(version));
  }
}

absl::StatusOr<Content> ReadContent(const Query& row) {
  if (static_cast<VersionState>(row.Int(kStateColumn)) == VersionState::kAbandoned)
    return Content();
  if (!row.IsNull(kBlobIdColumn)) {
    const std::optional<BlobId> id = BlobId::FromBytes(row.Blob(kBlobIdColumn));
    return id ? absl::StatusOr<Content>(Content(*id)) : DamagedBlobId();
  }
  if (!row.IsNull(kChunkColumn) || !row.IsNull(kRecipeColumn))
    return Content(ChunkList{row.Int(kChunkColumn), row.Int(kRecipeColumn)});
  if (row.IsNull(kInlineColumn)) return Content();
  return Content(row.Blob(kInlineColumn));
}

absl::StatusOr<std::vector<int64_t>> ReadNumbers(Query& query) {
  std::vector<int64_t> numbers;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return numbers;
    numbers.push_back(query.Int(0));
  }
}

absl::StatusOr<std::vector<BlobId>> ReadBlobIds(Query& query) {
  std::vector<BlobId> blobs;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return blobs;
    const std::optional<BlobId> id = BlobId::FromBytes(query.Blob(0));
    if (!id) return DamagedBlobId();
    blobs.push_back(*id);
  }
}

void BindReference(Query& query, const ContentReference& reference) {
  reference.blob ? query.BindBlob(reference.blob->bytes()) : query.BindNull();
  query.Bind(reference.blob_size).Bind(reference.kept_bytes);
  const ChunkList chunks = reference.chunks.value_or(ChunkList());
  const bool has_recipe = chunks.recipe != 0;
  reference.chunks && !has_recipe ? query.Bind(chunks.chunk) : query.BindNull();
  has_recipe ? query.Bind(chunks.recipe) : query.BindNull();
}

int64_t StoredEnd(const BlobLease& lease) {
  return std::min(absl::ToUnixMicros(lease.end), std::numeric_limits<int64_t>::max() - 1);
}

}  // namespace backup::storage::postgres
