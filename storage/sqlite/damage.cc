#include <string>
#include <variant>
#include <vector>

#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

// Chunks.

absl::Status SqliteTransaction::MarkDamaged(int64_t chunk, int64_t pack) {
  return SetDamaged(chunk, pack, true);
}

absl::Status SqliteTransaction::MarkWhole(int64_t chunk, int64_t pack) {
  return SetDamaged(chunk, pack, false);
}

absl::Status SqliteTransaction::SetDamaged(int64_t chunk, int64_t pack, bool is_damaged) {
  ASSIGN_OR_RETURN(std::optional<ChunkRow> row, SelectChunkRow(chunk));
  if (!row || row->pack != pack || row->is_damaged == is_damaged) return absl::OkStatus();
  RETURN_IF_ERROR(CountHealed(*row));
  ChunkChanges changes;
  changes.Discount(*row);
  row->is_damaged = is_damaged;
  changes.Count(*row);
  if (is_damaged)
    RETURN_IF_ERROR(database_.Prepare("UPDATE totals SET damage_epoch = damage_epoch + 1").Run());
  RETURN_IF_ERROR(database_.Prepare("UPDATE chunks SET is_damaged = ? WHERE chunk_no = ?")
                      .Bind(is_damaged ? 1 : 0)
                      .Bind(chunk)
                      .Run());
  return changes.Write(database_);
}

absl::StatusOr<int64_t> SqliteTransaction::DamageEpoch() {
  Query query = database_.Prepare("SELECT damage_epoch FROM totals");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::Status SqliteTransaction::CountHealed(const ChunkRow& row) {
  if (!row.is_damaged || row.refs <= 0) return absl::OkStatus();
  return database_.Prepare("UPDATE totals SET healed_chunks = healed_chunks + 1").Run();
}

// Versions.

absl::StatusOr<bool> SqliteTransaction::HasContent(int64_t version_id, const Content& content) {
  Query query = database_.Prepare(
      "SELECT blob_id, chunk_no, recipe_id FROM versions WHERE version_id = ? AND state <> 3");
  ASSIGN_OR_RETURN(const bool found, query.Bind(version_id).Step());
  if (!found) return false;
  if (const auto* blob = std::get_if<BlobId>(&content))
    return !query.IsNull(0) && query.Blob(0) == blob->bytes();
  const bool has_chunks = !query.IsNull(1) || !query.IsNull(2);
  if (const auto* chunks = std::get_if<ChunkList>(&content))
    return has_chunks && *chunks == ChunkList{query.Int(1), query.Int(2)};
  if (!query.IsNull(0) || has_chunks) return false;
  Query inlined = database_.Prepare("SELECT content FROM inline_contents WHERE version_id = ?");
  ASSIGN_OR_RETURN(const bool has_bytes, inlined.Bind(version_id).Step());
  const auto* bytes = std::get_if<std::string>(&content);
  return bytes == nullptr ? !has_bytes : has_bytes && inlined.Blob(0) == *bytes;
}

absl::StatusOr<bool> SqliteTransaction::MarkVersionDamaged(int64_t version_id,
                                                           const Content& content) {
  ASSIGN_OR_RETURN(const bool is_same, HasContent(version_id, content));
  if (!is_same) return false;
  if (const auto* blob = std::get_if<BlobId>(&content)) {
    RETURN_IF_ERROR(
        database_.Prepare("INSERT INTO set_aside_blobs VALUES (?) ON CONFLICT DO NOTHING")
            .BindBlob(blob->bytes())
            .Run());
  }
  Query insert = database_.Prepare(
      "INSERT INTO damaged_versions VALUES (?) ON CONFLICT DO NOTHING RETURNING 1");
  return insert.Bind(version_id).Step();
}

absl::StatusOr<bool> SqliteTransaction::MarkVersionWhole(int64_t version_id,
                                                         const Content& content) {
  ASSIGN_OR_RETURN(const bool is_same, HasContent(version_id, content));
  if (!is_same) return false;
  if (const auto* blob = std::get_if<BlobId>(&content)) {
    RETURN_IF_ERROR(database_.Prepare("DELETE FROM set_aside_blobs WHERE blob_id = ?")
                        .BindBlob(blob->bytes())
                        .Run());
  }
  Query remove = database_.Prepare("DELETE FROM damaged_versions WHERE version_id = ? RETURNING 1");
  ASSIGN_OR_RETURN(const bool was_marked, remove.Bind(version_id).Step());
  if (was_marked) RETURN_IF_ERROR(CountHealedVersion());
  return was_marked;
}

absl::Status SqliteTransaction::CountHealedVersion() {
  return database_.Prepare("UPDATE totals SET healed_versions = healed_versions + 1").Run();
}

absl::StatusOr<bool> SqliteTransaction::HealVersion(int64_t version_id, const Content& old,
                                                    StorageForm form, const NewContent& content) {
  ASSIGN_OR_RETURN(bool is_damaged, HasContent(version_id, old));
  Query marked = database_.Prepare("SELECT 1 FROM damaged_versions WHERE version_id = ?");
  ASSIGN_OR_RETURN(const bool was_marked, marked.Bind(version_id).Step());
  if (is_damaged && !was_marked) {
    const auto* chunks = std::get_if<ChunkList>(&old);
    const bool has_recipe = chunks != nullptr && chunks->recipe != 0;
    DamagedChunks damaged(database_, DamagedChunks::Recipes::kSkipped);
    if (!has_recipe) {
      ASSIGN_OR_RETURN(is_damaged, damaged.Has(chunks == nullptr ? ChunkList() : *chunks));
    }
  }
  if (!is_damaged) RETURN_IF_ERROR(DropContent(content));
  if (!is_damaged) return false;
  RETURN_IF_ERROR(PutInPlace(version_id, form, content));
  if (was_marked) RETURN_IF_ERROR(CountHealedVersion());
  return true;
}

// Blobs that were set aside.

absl::StatusOr<int64_t> SqliteTransaction::DiscardSetAside(int limit) {
  // Those that something refers to are passed over once, not for each that is not needed.
  Query unneeded = database_.Prepare(
      "SELECT blob_id FROM set_aside_blobs s "
      "WHERE NOT EXISTS (SELECT 1 FROM versions v WHERE v.blob_id = s.blob_id) LIMIT ?");
  std::vector<std::string> ids;
  unneeded.Bind(limit);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, unneeded.Step());
    if (!more) break;
    ids.push_back(unneeded.Blob(0));
  }
  for (const std::string& id : ids) {
    for (const char* const change :
         {"DELETE FROM set_aside_blobs WHERE blob_id = ?",
          "INSERT INTO dropped_blobs VALUES (?) ON CONFLICT DO NOTHING"}) {
      RETURN_IF_ERROR(database_.Prepare(change).BindBlob(id).Run());
    }
  }
  return std::ssize(ids);
}

}  // namespace backup::storage
