#include <algorithm>
#include <map>
#include <utility>

#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

// Reason STATE_CORRUPT if it is gone.
absl::StatusOr<StoredChunk> SelectChunk(Database& database, int64_t number) {
  Query query =
      database.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES " WHERE c.chunk_no = ?");
  ASSIGN_OR_RETURN(const bool found, query.Bind(number).Step());
  if (!found) return ChunksCorrupt("a chunk of a version is missing");
  return ReadChunk(query);
}

absl::StatusOr<std::vector<StoredChunk>> OnlyChunk(Database& database, int64_t number,
                                                   int64_t offset) {
  std::vector<StoredChunk> chunks;
  ASSIGN_OR_RETURN(StoredChunk chunk, SelectChunk(database, number));
  if (offset < chunk.ref.size_bytes) chunks.push_back(std::move(chunk));
  return chunks;
}

absl::StatusOr<int64_t> SizeOf(Database& database, int64_t recipe_id) {
  Query query = database.Prepare("SELECT size_bytes FROM recipes WHERE recipe_id = ?");
  ASSIGN_OR_RETURN(const bool found, query.Bind(recipe_id).Step());
  if (!found) return ChunksCorrupt("the recipe of a version is missing");
  return query.Int(0);
}

}  // namespace

absl::StatusOr<std::vector<StoredChunk>> SqliteTransaction::ListChunks(const ChunkList& content,
                                                                       int64_t offset, int limit) {
  std::vector<StoredChunk> chunks;
  if (content == ChunkList() || limit <= 0) return chunks;
  if (content.recipe == 0) return OnlyChunk(database_, content.chunk, offset);
  ASSIGN_OR_RETURN(const int64_t size_bytes, SizeOf(database_, content.recipe));
  if (offset >= size_bytes) return chunks;
  Query parts = database_.Prepare(
      "SELECT first_offset, entries FROM recipe_parts WHERE recipe_id = ?1 AND first_offset >= "
      "(SELECT max(first_offset) FROM recipe_parts WHERE recipe_id = ?1 AND first_offset <= ?2) "
      "ORDER BY first_offset");
  parts.Bind(content.recipe).Bind(offset);
  int64_t position = 0;
  while (position < size_bytes) {
    ASSIGN_OR_RETURN(const bool more, parts.Step());
    if (!more || (!chunks.empty() && parts.Int(0) != position))
      return ChunksCorrupt("a part of a recipe is missing");
    position = parts.Int(0);
    ASSIGN_OR_RETURN(const std::vector<RecipeEntry> entries, DecodeEntries(parts.Blob(1)));
    for (const RecipeEntry& entry : entries) {
      const int64_t begin = std::exchange(position, position + entry.size_bytes);
      if (position <= offset) continue;
      ASSIGN_OR_RETURN(StoredChunk chunk, SelectChunk(database_, entry.chunk));
      if (chunk.ref.size_bytes != entry.size_bytes)
        return ChunksCorrupt("a chunk of a version has another size");
      chunk.offset_in_content = begin;
      chunks.push_back(std::move(chunk));
      if (std::ssize(chunks) == limit) return chunks;
    }
  }
  return chunks;
}

absl::StatusOr<int64_t> SqliteTransaction::AppendRecipe(const NewChunks& part,
                                                        const BlobLease& lease) {
  RETURN_IF_ERROR(CheckGrowth());
  if (part.recipe_id != 0) RETURN_IF_ERROR(CheckPendingRecipe(part.recipe_id));
  ASSIGN_OR_RETURN(const Taken taken, TakeSteps(part));
  int64_t recipe_id = part.recipe_id;
  if (recipe_id == 0) {
    ASSIGN_OR_RETURN(recipe_id, InsertRecipe());
    RETURN_IF_ERROR(database_.Prepare("INSERT INTO pending_recipes VALUES (?, ?, ?)")
                        .Bind(recipe_id)
                        .BindBlob(lease.owner.bytes())
                        .Bind(StoredEnd(lease))
                        .Run());
  }
  RETURN_IF_ERROR(AppendEntries(recipe_id, taken).status());
  return recipe_id;
}

absl::Status SqliteTransaction::CheckPendingRecipe(int64_t recipe_id) {
  Query query = database_.Prepare("SELECT 1 FROM pending_recipes WHERE recipe_id = ?");
  ASSIGN_OR_RETURN(const bool found, query.Bind(recipe_id).Step());
  return found ? absl::OkStatus() : LostSight();
}

absl::StatusOr<int64_t> SqliteTransaction::InsertRecipe() {
  Query insert = database_.Prepare(
      "INSERT INTO recipes (size_bytes, kept_bytes) VALUES (0, 0) RETURNING recipe_id");
  RETURN_IF_ERROR(insert.Step().status());
  return insert.Int(0);
}

absl::StatusOr<int64_t> SqliteTransaction::AppendEntries(int64_t recipe_id, const Taken& taken) {
  ASSIGN_OR_RETURN(int64_t end, SizeOf(database_, recipe_id));
  for (auto begin = taken.entries.begin(); begin != taken.entries.end();) {
    const auto part_size = std::min<ptrdiff_t>(kMaxPartEntries, taken.entries.end() - begin);
    const std::vector<RecipeEntry> part(begin, begin + part_size);
    RETURN_IF_ERROR(database_.Prepare("INSERT INTO recipe_parts VALUES (?, ?, ?)")
                        .Bind(recipe_id)
                        .Bind(end)
                        .BindBlob(EncodeEntries(part))
                        .Run());
    for (const RecipeEntry& entry : part) end += entry.size_bytes;
    begin += part_size;
  }
  Query update = database_.Prepare(
      "UPDATE recipes SET size_bytes = ?, kept_bytes = kept_bytes + ? WHERE recipe_id = ? "
      "RETURNING kept_bytes");
  RETURN_IF_ERROR(update.Bind(end).Bind(taken.kept_bytes).Bind(recipe_id).Step().status());
  return update.Int(0);
}

absl::Status SqliteTransaction::DropPendingRecipe(int64_t recipe_id) {
  Query pending = database_.Prepare("DELETE FROM pending_recipes WHERE recipe_id = ? RETURNING 1");
  ASSIGN_OR_RETURN(const bool was_pending, pending.Bind(recipe_id).Step());
  if (!was_pending) return absl::OkStatus();
  return database_.Prepare("INSERT INTO dropped_recipes VALUES (?)").Bind(recipe_id).Run();
}

absl::StatusOr<int64_t> SqliteTransaction::ReleaseRecipes(int limit) {
  int64_t released = 0;
  while (released < limit) {
    Query part = database_.Prepare(
        "SELECT d.recipe_id, p.first_offset, p.entries FROM dropped_recipes d "
        "LEFT JOIN recipe_parts p ON p.recipe_id = d.recipe_id "
        "ORDER BY d.recipe_id, p.first_offset LIMIT 1");
    ASSIGN_OR_RETURN(const bool found, part.Step());
    if (!found) break;
    const int64_t recipe_id = part.Int(0);
    if (part.IsNull(1)) {
      RETURN_IF_ERROR(ForgetRecipe(recipe_id));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<RecipeEntry> entries, DecodeEntries(part.Blob(2)));
    RETURN_IF_ERROR(ReleaseEntries(entries));
    RETURN_IF_ERROR(
        database_.Prepare("DELETE FROM recipe_parts WHERE recipe_id = ? AND first_offset = ?")
            .Bind(recipe_id)
            .Bind(part.Int(1))
            .Run());
    released += std::ssize(entries);
  }
  return released;
}

absl::Status SqliteTransaction::ReleaseEntries(const std::vector<RecipeEntry>& entries) {
  std::map<int64_t, int64_t> references;
  for (const RecipeEntry& entry : entries) ++references[entry.chunk];
  ChunkChanges changes;
  for (const auto& [number, count] : references) {
    ASSIGN_OR_RETURN(std::optional<ChunkRow> row, SelectChunkRow(number));
    if (!row) return ChunksCorrupt("a chunk of a recipe is missing");
    RETURN_IF_ERROR(AddReferences(-count, *row, changes));
  }
  return changes.Write(database_);
}

absl::Status SqliteTransaction::ForgetRecipe(int64_t recipe_id) {
  RETURN_IF_ERROR(
      database_.Prepare("DELETE FROM dropped_recipes WHERE recipe_id = ?").Bind(recipe_id).Run());
  return database_.Prepare("DELETE FROM recipes WHERE recipe_id = ?").Bind(recipe_id).Run();
}

}  // namespace backup::storage
