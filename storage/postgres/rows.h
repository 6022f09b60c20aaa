#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/catalog/catalog_errors.h"
#include "storage/catalog/types.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/damaged_chunks.h"

namespace backup::storage::postgres {

// Column lists and the readers of rows that select them, in this order. "c" is clients, "f" files
// and "v" versions, which VERSION_TABLES joins. A version is in the trash with its client, too.
#define CLIENT_COLUMNS                                                                         \
  "c.client_id, c.name, c.create_time, c.last_seen_time, c.public_key, c.sealed_session_key, " \
  "c.session_key_bits, c.last_verified_time, c.family, c.header_version, c.framing, "          \
  "c.file_style, c.connection_style, c.last_protocol_error, c.last_protocol_error_time, "      \
  "c.checksum_kind, c.checksum_refusals, c.stored_bytes, c.resends, c.kept_bytes, "            \
  "c.retain_until, c.file_count, c.version_count, c.delete_time"
#define VERSION_COLUMNS                                                                            \
  "c.client_id, f.name, v.version_id, v.size_bytes, v.encoded_size, v.checksum_kind, v.checksum, " \
  "v.sha256, v.state, v.receive_time, v.verify_time, v.form, v.upload_id, v.blob_id, v.chunk_no, " \
  "v.recipe_id, v.retain_until, " IS_MARKED                                                        \
  ", coalesce(v.delete_time, c.delete_time), "                                                     \
  "v.arrive_time, " MAY_HAVE_DAMAGED
#define VERSION_TABLES "versions v JOIN files f USING (file_id) JOIN clients c USING (client_id)"
// Whether the version, or its only chunk, is known to be damaged.
#define IS_MARKED                                                                 \
  "(EXISTS (SELECT 1 FROM damaged_versions d WHERE d.version_id = v.version_id) " \
  "OR EXISTS (SELECT 1 FROM chunks WHERE chunk_no = v.chunk_no AND is_damaged))"
// Whether its recipe has to be looked at: as a rule no chunk is damaged at all.
#define MAY_HAVE_DAMAGED \
  "(v.recipe_id IS NOT NULL AND EXISTS (SELECT 1 FROM chunks WHERE is_damaged AND refs > 0))"
// Behind VERSION_COLUMNS, for ReadContent().
#define INLINE_CONTENT "(SELECT content FROM inline_contents i WHERE i.version_id = v.version_id)"

// A time as it is once it was stored.
absl::Time StoredTime(absl::Time time);
// Times that may be NULL.
std::optional<absl::Time> OptionalTimeColumn(const Query& row, int column);
void BindTime(Query& query, std::optional<absl::Time> time);

Client ReadClient(const Query& row);
// All rows.
absl::StatusOr<std::vector<Client>> ReadClients(Query& query);
// `damaged` knows the chunks of the state that the row is of. `column` is that of the first one.
absl::StatusOr<Version> ReadVersion(DamagedChunks& damaged, const Query& row, int column = 0);
// All rows.
absl::StatusOr<std::vector<Version>> ReadVersions(DamagedChunks& damaged, Query& query);
// The content of a row of VERSION_COLUMNS and INLINE_CONTENT.
absl::StatusOr<Content> ReadContent(const Query& row);
// The first column of all rows, which are numbers.
absl::StatusOr<std::vector<int64_t>> ReadNumbers(Query& query);
// The same of blob ids. Reason STATE_CORRUPT.
absl::StatusOr<std::vector<BlobId>> ReadBlobIds(Query& query);

// What a version's row says of its content, but for what is inline.
struct ContentReference {
  std::optional<BlobId> blob;
  int64_t blob_size = 0;
  int64_t kept_bytes = 0;  // That the store grew by.
  std::optional<ChunkList> chunks;
};
// Binds blob_id, blob_size, kept_bytes, chunk_no and recipe_id.
void BindReference(Query& query, const ContentReference& reference);

// The end of a lease as it is stored: below the largest number.
int64_t StoredEnd(const BlobLease& lease);

// The bytes of ids, to bind.
template <typename Ids>
std::vector<std::string> BytesOf(const Ids& ids) {
  std::vector<std::string> bytes;
  for (const auto& id : ids) bytes.emplace_back(id.bytes());
  return bytes;
}

}  // namespace backup::storage::postgres
