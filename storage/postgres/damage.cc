#include <string>
#include <variant>
#include <vector>

#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

namespace backup::storage::postgres {

// Chunks.

absl::Status PostgresTransaction::MarkDamaged(int64_t chunk, int64_t pack) {
  return SetDamaged(chunk, pack, true);
}

absl::Status PostgresTransaction::MarkWhole(int64_t chunk, int64_t pack) {
  return SetDamaged(chunk, pack, false);
}

absl::Status PostgresTransaction::SetDamaged(int64_t chunk, int64_t pack, bool is_damaged) {
  Query query = connection_.Prepare("SELECT " ROW_COLUMNS " FROM " ROW_TABLES
                                    " WHERE c.chunk_no = $1 FOR UPDATE OF c");
  ASSIGN_OR_RETURN(std::vector<ChunkRow> rows, ReadChunkRows(query.Bind(chunk)));
  if (rows.empty() || rows[0].pack != pack || rows[0].is_damaged == is_damaged)
    return absl::OkStatus();
  ChunkChanges changes;
  changes.SetDamaged(is_damaged, rows[0]);
  if (is_damaged) {
    RETURN_IF_ERROR(connection_.Prepare("UPDATE epochs SET damage_epoch = damage_epoch + 1").Run());
  }
  return changes.Write(connection_, totals());
}

absl::StatusOr<int64_t> PostgresTransaction::DamageEpoch() {
  Query query = connection_.Prepare("SELECT damage_epoch FROM epochs");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

// Versions.

absl::StatusOr<bool> PostgresTransaction::HasContent(int64_t version_id, const Content& content) {
  Query query =
      connection_.Prepare("SELECT v.blob_id, v.chunk_no, v.recipe_id, " INLINE_CONTENT
                          " FROM versions v WHERE v.version_id = $1 AND v.state <> 3 FOR UPDATE");
  ASSIGN_OR_RETURN(const bool found, query.Bind(version_id).Step());
  if (!found) return false;
  if (const auto* blob = std::get_if<BlobId>(&content))
    return !query.IsNull(0) && query.Blob(0) == blob->bytes();
  const bool has_chunks = !query.IsNull(1) || !query.IsNull(2);
  if (const auto* chunks = std::get_if<ChunkList>(&content))
    return has_chunks && *chunks == ChunkList{query.Int(1), query.Int(2)};
  if (!query.IsNull(0) || has_chunks) return false;
  const auto* bytes = std::get_if<std::string>(&content);
  return bytes == nullptr ? query.IsNull(3) : !query.IsNull(3) && query.Blob(3) == *bytes;
}

absl::StatusOr<bool> PostgresTransaction::MarkVersionDamaged(int64_t version_id,
                                                             const Content& content) {
  RETURN_IF_ERROR(LockOwners({version_id}));
  ASSIGN_OR_RETURN(const bool is_same, HasContent(version_id, content));
  if (!is_same) return false;
  if (const auto* blob = std::get_if<BlobId>(&content)) {
    RETURN_IF_ERROR(
        connection_.Prepare("INSERT INTO set_aside_blobs VALUES ($1) ON CONFLICT DO NOTHING")
            .BindBlob(blob->bytes())
            .Run());
  }
  return connection_
      .Prepare("INSERT INTO damaged_versions VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1")
      .Bind(version_id)
      .Step();
}

absl::StatusOr<bool> PostgresTransaction::MarkVersionWhole(int64_t version_id,
                                                           const Content& content) {
  RETURN_IF_ERROR(LockOwners({version_id}));
  ASSIGN_OR_RETURN(const bool is_same, HasContent(version_id, content));
  if (!is_same) return false;
  if (const auto* blob = std::get_if<BlobId>(&content)) {
    RETURN_IF_ERROR(connection_.Prepare("DELETE FROM set_aside_blobs WHERE blob_id = $1")
                        .BindBlob(blob->bytes())
                        .Run());
  }
  Query remove =
      connection_.Prepare("DELETE FROM damaged_versions WHERE version_id = $1 RETURNING 1");
  ASSIGN_OR_RETURN(const bool was_marked, remove.Bind(version_id).Step());
  if (was_marked) totals().Add(Total::kHealedVersions, 1);
  return was_marked;
}

absl::StatusOr<bool> PostgresTransaction::HealVersion(int64_t version_id, const Content& old,
                                                      StorageForm form, const NewContent& content) {
  RETURN_IF_ERROR(LockOwners({version_id}));
  ASSIGN_OR_RETURN(bool is_damaged, HasContent(version_id, old));
  Query marked = connection_.Prepare(
      "SELECT EXISTS (SELECT 1 FROM damaged_versions WHERE version_id = $1), "
      "EXISTS (SELECT 1 FROM versions JOIN chunks USING (chunk_no) WHERE version_id = $1 AND "
      "is_damaged)");
  RETURN_IF_ERROR(marked.Bind(version_id).Step().status());
  const bool was_marked = marked.Int(0) != 0;
  const auto* chunks = std::get_if<ChunkList>(&old);
  const bool has_recipe = chunks != nullptr && chunks->recipe != 0;
  if (!was_marked && !has_recipe) is_damaged = is_damaged && marked.Int(1) != 0;
  if (!is_damaged) {
    const auto queries = AskForContent(content);
    RETURN_IF_ERROR(DropContent(*queries, content));
    return false;
  }
  RETURN_IF_ERROR(PutInPlace(version_id, form, content));
  if (was_marked) totals().Add(Total::kHealedVersions, 1);
  return true;
}

// Blobs that were set aside.

absl::StatusOr<int64_t> PostgresTransaction::DiscardSetAside(int limit) {
  Query query = connection_.Prepare(
      "WITH gone AS (DELETE FROM set_aside_blobs WHERE blob_id IN (SELECT blob_id FROM "
      "set_aside_blobs s WHERE NOT EXISTS (SELECT 1 FROM versions v WHERE v.blob_id = s.blob_id) "
      "LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING blob_id), "
      "dropped AS (INSERT INTO dropped_blobs SELECT blob_id FROM gone ON CONFLICT DO NOTHING) "
      "SELECT count(*) FROM gone");
  RETURN_IF_ERROR(query.Bind(limit).Step().status());
  return query.Int(0);
}

}  // namespace backup::storage::postgres
