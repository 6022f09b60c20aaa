#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/catalog/catalog_errors.h"
#include "storage/catalog/types.h"
#include "storage/sqlite/damaged_chunks.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// Column lists and the readers of rows that select them, in this order. "v" is versions, "f" is
// files. A version is in the trash with its client, too.
#define CLIENT_COLUMNS                                                                  \
  "client_id, name, create_time, last_seen_time, public_key, sealed_session_key, "      \
  "session_key_bits, "                                                                  \
  "last_verified_time, family, header_version, framing, file_style, connection_style, " \
  "last_protocol_error, last_protocol_error_time, checksum_kind, checksum_refusals, "   \
  "stored_bytes, resends, kept_bytes, retain_until, file_count, version_count, delete_time"
#define VERSION_COLUMNS                                                                            \
  "f.client_id, f.name, v.version_id, v.size_bytes, v.encoded_size, v.checksum_kind, v.checksum, " \
  "v.sha256, "                                                                                     \
  "v.state, v.receive_time, v.verify_time, v.form, v.upload_id, v.blob_id, v.chunk_no, "           \
  "v.recipe_id, v.retain_until, "                                                                  \
  "EXISTS (SELECT 1 FROM damaged_versions d WHERE d.version_id = v.version_id), "                  \
  "coalesce(v.delete_time, (SELECT c.delete_time FROM clients c WHERE c.client_id = "              \
  "f.client_id)), "                                                                                \
  "v.arrive_time"

// A time as it is once it was stored.
absl::Time StoredTime(absl::Time time);
// Times that may be NULL.
std::optional<absl::Time> OptionalTimeColumn(const Query& row, int column);
void BindTime(Query& query, std::optional<absl::Time> time);

Client ReadClient(const Query& row);
// All rows.
absl::StatusOr<std::vector<Client>> ReadClients(Query& query);
// `damaged` knows the chunks of the state that the row is of.
absl::StatusOr<Version> ReadVersion(DamagedChunks& damaged, const Query& row);
// The first column of all rows, which are numbers.
absl::StatusOr<std::vector<int64_t>> ReadNumbers(Query& query);
// The content of a row of ReadVersion; what is inline is read from the database.
absl::StatusOr<Content> ReadContent(Database& database, const Query& row);

// What a version's row says of its content, but for what is inline.
struct ContentReference {
  std::optional<BlobId> blob;
  int64_t blob_size = 0;
  int64_t kept_bytes = 0;  // That the store grew by.
  std::optional<ChunkList> chunks;
};
// Binds blob_id, blob_size, kept_bytes, chunk_no and recipe_id.
void BindReference(Query& query, const ContentReference& reference);

// Of what is not in the trash. Reason CLIENT_NOT_FOUND.
absl::StatusOr<Client> SelectClient(Database& database, const ClientId& id);
// The same of a file. Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND.
absl::StatusOr<int64_t> SelectFileId(Database& database, const ClientId& client,
                                     const std::string& file_name);

// Sets the time of a registration in the future to `now`, unless others have the client's name.
absl::Status MendRegistration(Database& database, const ClientId& id, absl::Time now);
// Notes a contact of the client as Transaction describes: in `client`, for UpdateClient(), or in
// the database, if it is of its registration.
absl::Status SetSeen(Database& database, Client& client, absl::Time now);
// Notes a contact of the client as Transaction describes; nothing happens if there is no such
// client.
absl::Status NoteSeen(Database& database, const ClientId& id, absl::Time now);
// Stores what requests change of a client, in one statement: all but what triggers count. Only
// `verified`, if given, becomes its last_verified_time, which is in an index.
absl::Status UpdateClient(Database& database, const Client& client,
                          std::optional<absl::Time> verified = std::nullopt);

// The end of a lease as it is stored: below the largest number.
int64_t StoredEnd(const BlobLease& lease);
}  // namespace backup::storage
