#include <map>
#include <set>
#include <variant>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<ContentReference> SqliteTransaction::TakeContent(const NewContent& content) {
  ContentReference reference;
  if (const auto* bytes = std::get_if<std::string>(&content)) {
    reference.kept_bytes = std::ssize(*bytes);
    return reference;
  }
  if (const auto* chunks = std::get_if<NewChunks>(&content)) return TakeChunks(*chunks);
  const auto& blob = std::get<NewBlob>(content);
  RETURN_IF_ERROR(TakePendingBlob(blob.id));
  reference.blob = blob.id;
  reference.blob_size = reference.kept_bytes = blob.size_bytes;
  return reference;
}

absl::Status SqliteTransaction::DropContent(const NewContent& content) {
  if (const auto* blob = std::get_if<NewBlob>(&content)) return DropPendingBlob(blob->id);
  const auto* chunks = std::get_if<NewChunks>(&content);
  if (chunks == nullptr) return absl::OkStatus();
  for (const NewPack& pack : chunks->packs) RETURN_IF_ERROR(DropPendingBlob(pack.blob_id));
  return DropPendingRecipe(chunks->recipe_id);
}

absl::StatusOr<ContentReference> SqliteTransaction::TakeChunks(const NewChunks& chunks) {
  if (chunks.recipe_id != 0) RETURN_IF_ERROR(CheckPendingRecipe(chunks.recipe_id));
  ASSIGN_OR_RETURN(const Taken taken, TakeSteps(chunks));
  ContentReference reference;
  reference.chunks = ChunkList{};
  reference.kept_bytes = taken.kept_bytes;
  if (chunks.recipe_id == 0 && taken.entries.size() <= 1) {
    if (!taken.entries.empty()) reference.chunks->chunk = taken.entries.front().chunk;
    return reference;
  }
  int64_t& recipe = reference.chunks->recipe = chunks.recipe_id;
  if (recipe == 0) {
    ASSIGN_OR_RETURN(recipe, InsertRecipe());
  }
  ASSIGN_OR_RETURN(reference.kept_bytes, AppendEntries(recipe, taken));
  RETURN_IF_ERROR(
      database_.Prepare("DELETE FROM pending_recipes WHERE recipe_id = ?").Bind(recipe).Run());
  return reference;
}

absl::StatusOr<SqliteTransaction::Taken> SqliteTransaction::TakeSteps(const NewChunks& chunks) {
  if (chunks.recipe.size() > kMaxRecipePart)
    return absl::InvalidArgumentError("too many steps of a recipe at once");
  ASSIGN_OR_RETURN(ChunkRows rows, CheckChunks(chunks));
  ChunkChanges changes;
  Taken taken;
  for (const InlineChunk& chunk : chunks.inlined) {
    ASSIGN_OR_RETURN(const int64_t grown, PutInline(chunk, rows, changes));
    taken.kept_bytes += grown;
  }
  for (const NewPack& pack : chunks.packs) {
    ASSIGN_OR_RETURN(const int64_t grown, PutPack(pack, rows, changes));
    taken.kept_bytes += grown;
  }
  std::map<ChunkId, int64_t> references;
  for (const ChunkRef& step : chunks.recipe) {
    ++references[step.id];
    taken.entries.push_back({rows.at(step.id).number, step.size_bytes});
  }
  for (const auto& [id, count] : references)
    RETURN_IF_ERROR(AddReferences(count, rows.at(id), changes));
  RETURN_IF_ERROR(changes.Write(database_));
  return taken;
}

absl::StatusOr<SqliteTransaction::ChunkRows> SqliteTransaction::CheckChunks(
    const NewChunks& chunks) {
  std::set<ChunkId> ids;
  for (const InlineChunk& chunk : chunks.inlined) ids.insert(chunk.ref.id);
  for (const NewPack& pack : chunks.packs) {
    RETURN_IF_ERROR(CheckPendingBlob(pack.blob_id));
    for (const PackedChunk& chunk : pack.chunks) ids.insert(chunk.id);
  }
  const std::set<ChunkId> brought = ids;
  for (const ChunkRef& step : chunks.recipe) ids.insert(step.id);
  ChunkRows rows;
  for (const ChunkId& id : ids) {
    ASSIGN_OR_RETURN(const std::optional<ChunkRow> row, SelectChunkRow(id));
    if ((!row || row->is_damaged) && !brought.contains(id)) return LostSight();
    if (row) rows.emplace(id, *row);
  }
  return rows;
}

absl::StatusOr<int64_t> SqliteTransaction::PutInline(const InlineChunk& chunk, ChunkRows& rows,
                                                     ChunkChanges& changes) {
  const auto [row, is_new] = rows.try_emplace(chunk.ref.id);
  if (is_new) {
    RETURN_IF_ERROR(InsertInlineChunk(chunk, row->second));
    return std::ssize(chunk.payload);
  }
  ASSIGN_OR_RETURN(const bool stays, IsUsable(row->second, chunk));
  if (stays) return 0;
  RETURN_IF_ERROR(MoveInline(chunk, row->second, changes));
  return std::ssize(chunk.payload);
}

absl::StatusOr<bool> SqliteTransaction::IsUsable(const ChunkRow& row, const InlineChunk& brought) {
  if (!row.IsUsable()) return false;
  if (row.pack == 0 || brought.has_pack_key == nullptr) return true;
  // No more of it, as FindPack() counts chunks.
  Query pack = database_.Prepare("SELECT wrapped_key, blob_id FROM packs WHERE pack_id = ?");
  ASSIGN_OR_RETURN(const bool is_there, pack.Bind(row.pack).Step());
  const std::string wrapped_key = is_there ? pack.Blob(0) : "";
  if (wrapped_key.empty()) return true;
  const std::optional<BlobId> blob_id = BlobId::FromBytes(pack.Blob(1));
  if (!blob_id) return ChunksCorrupt("the blob id of a pack is damaged");
  return brought.has_pack_key(wrapped_key, *blob_id);
}

absl::StatusOr<int64_t> SqliteTransaction::PutPack(const NewPack& pack, ChunkRows& rows,
                                                   ChunkChanges& changes) {
  ASSIGN_OR_RETURN(const int64_t pack_id, InsertPack(pack));
  changes.NoteLeft(pack_id);  // If nothing comes to it.
  int64_t grown = 0;
  for (const PackedChunk& chunk : pack.chunks) {
    const auto [row, is_new] = rows.try_emplace(chunk.id);
    if (is_new) {
      RETURN_IF_ERROR(InsertChunk(chunk, pack, pack_id, row->second));
    } else if (!row->second.IsUsable()) {
      RETURN_IF_ERROR(MoveChunk(chunk, pack, pack_id, row->second, changes));
    } else {
      continue;
    }
    grown += chunk.stored_size;
  }
  return grown;
}

}  // namespace backup::storage
