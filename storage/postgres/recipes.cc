#include <algorithm>
#include <map>
#include <utility>

#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

namespace backup::storage::postgres {
namespace {

constexpr int64_t kEntriesInPart = kMaxPartEntries;

int64_t PartsFor(int64_t entries) {
  return std::max<int64_t>(1, (entries - 1) / kEntriesInPart + 1);
}

// One step of a content, with the number of its chunk.
struct Step {
  int64_t chunk = 0;
  int64_t begin = 0;
  int64_t size_bytes = 0;
};

// The steps of a recipe from the one on that holds the byte at `offset`, at most `limit`.
absl::StatusOr<std::vector<Step>> ListSteps(Query& parts, int64_t size_bytes, int64_t offset,
                                            int limit) {
  std::vector<Step> steps;
  int64_t position = 0;
  bool is_first = true;
  while (position < size_bytes) {
    ASSIGN_OR_RETURN(const bool more, parts.Step());
    if (!more || (!is_first && parts.Int(0) != position))
      return ChunksCorrupt("a part of a recipe is missing");
    is_first = false;
    position = parts.Int(0);
    ASSIGN_OR_RETURN(const std::vector<RecipeEntry> entries, DecodeEntries(parts.Blob(1)));
    for (const RecipeEntry& entry : entries) {
      const int64_t begin = std::exchange(position, position + entry.size_bytes);
      if (position <= offset) continue;
      steps.push_back({entry.chunk, begin, entry.size_bytes});
      if (std::ssize(steps) == limit) return steps;
    }
  }
  return steps;
}

// In the order of the steps. Reason STATE_CORRUPT if one is gone.
absl::StatusOr<std::vector<StoredChunk>> ChunksOf(Connection& connection,
                                                  const std::vector<Step>& steps) {
  std::vector<int64_t> numbers;
  for (const Step& step : steps) numbers.push_back(step.chunk);
  Query query = connection.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES
                                   " WHERE c.chunk_no = ANY($1)");
  ASSIGN_OR_RETURN(const std::vector<StoredChunk> found, ReadChunks(query.BindAll(numbers)));
  std::map<int64_t, const StoredChunk*> by_number;
  for (const StoredChunk& chunk : found) by_number[chunk.number] = &chunk;
  std::vector<StoredChunk> chunks;
  for (const Step& step : steps) {
    const auto chunk = by_number.find(step.chunk);
    if (chunk == by_number.end()) return ChunksCorrupt("a chunk of a version is missing");
    if (chunk->second->ref.size_bytes != step.size_bytes)
      return ChunksCorrupt("a chunk of a version has another size");
    chunks.push_back(*chunk->second);
    chunks.back().offset_in_content = step.begin;
  }
  return chunks;
}

}  // namespace

absl::StatusOr<std::vector<StoredChunk>> PostgresTransaction::ListChunks(const ChunkList& content,
                                                                         int64_t offset,
                                                                         int limit) {
  std::vector<StoredChunk> chunks;
  if (content == ChunkList() || limit <= 0) return chunks;
  if (content.recipe == 0) {
    Query query =
        connection_.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES " WHERE c.chunk_no = $1");
    ASSIGN_OR_RETURN(chunks, ReadChunks(query.Bind(content.chunk)));
    if (chunks.empty()) return ChunksCorrupt("a chunk of a version is missing");
    if (offset >= chunks.front().ref.size_bytes) chunks.clear();
    return chunks;
  }
  Query size = connection_.Prepare("SELECT size_bytes FROM recipes WHERE recipe_id = $1");
  size.Bind(content.recipe).Start();
  Query parts = connection_.Prepare(
      "SELECT first_offset, entries FROM recipe_parts WHERE recipe_id = $1 AND first_offset >= "
      "(SELECT max(first_offset) FROM recipe_parts WHERE recipe_id = $1 AND first_offset <= $2) "
      "ORDER BY first_offset LIMIT $3");
  // The first of them may have but one step that is wanted.
  parts.Bind(content.recipe).Bind(offset).Bind(PartsFor(limit) * 2 + 1).Start();
  ASSIGN_OR_RETURN(const bool found, size.Step());
  if (!found) return ChunksCorrupt("the recipe of a version is missing");
  if (offset >= size.Int(0)) return chunks;
  ASSIGN_OR_RETURN(const std::vector<Step> steps, ListSteps(parts, size.Int(0), offset, limit));
  return ChunksOf(connection_, steps);
}

absl::StatusOr<std::optional<StoredChunk>> PostgresTransaction::FindChunk(const ChunkId& id) {
  Query query = connection_.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES
                                    " WHERE c.chunk_id = $1 AND c.pack_id IS NOT NULL "
                                    "AND NOT c.is_damaged AND NOT c.is_condemned");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return std::nullopt;
  return ReadChunk(query);
}

absl::StatusOr<std::vector<StoredChunk>> PostgresTransaction::ListInlineChunks(int64_t after,
                                                                               int limit) {
  Query query = connection_.Prepare("SELECT " CHUNK_COLUMNS
                                    " FROM (SELECT * FROM chunk_payloads WHERE chunk_no > $1 ORDER "
                                    "BY chunk_no LIMIT $2) i JOIN chunks c USING (chunk_no) "
                                    "LEFT JOIN packs p ON p.pack_id = c.pack_id "
                                    "ORDER BY c.chunk_no");
  return ReadChunks(query.Bind(after).Bind(limit));
}

absl::StatusOr<int64_t> PostgresTransaction::LastInlineChunk() {
  Query query = connection_.Prepare("SELECT coalesce(max(chunk_no), 0) FROM chunk_payloads");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<int64_t> PostgresTransaction::AppendRecipe(const NewChunks& part,
                                                          const BlobLease& lease) {
  const auto queries = AskForContent(part);
  ASSIGN_OR_RETURN(const Taken taken, TakeSteps(*queries, part));
  int64_t recipe_id = part.recipe_id;
  if (recipe_id == 0) {
    ASSIGN_OR_RETURN(recipe_id, InsertRecipe());
    RETURN_IF_ERROR(connection_.Prepare("INSERT INTO pending_recipes VALUES ($1, $2, $3)")
                        .Bind(recipe_id)
                        .BindBlob(lease.owner.bytes())
                        .Bind(StoredEnd(lease))
                        .Run());
  }
  RETURN_IF_ERROR(AppendEntries(recipe_id, taken));
  return recipe_id;
}

absl::StatusOr<int64_t> PostgresTransaction::InsertRecipe() {
  Query insert = connection_.Prepare("INSERT INTO recipes DEFAULT VALUES RETURNING recipe_id");
  RETURN_IF_ERROR(insert.Step().status());
  return insert.Int(0);
}

absl::Status PostgresTransaction::AppendEntries(int64_t recipe_id, const Taken& taken) {
  int64_t end = taken.recipe_size;
  for (auto begin = taken.entries.begin(); begin != taken.entries.end();) {
    const auto part_size = std::min<ptrdiff_t>(kEntriesInPart, taken.entries.end() - begin);
    const std::vector<RecipeEntry> part(begin, begin + part_size);
    RETURN_IF_ERROR(connection_.Prepare("INSERT INTO recipe_parts VALUES ($1, $2, $3)")
                        .Bind(recipe_id)
                        .Bind(end)
                        .BindBlob(EncodeEntries(part))
                        .Run());
    for (const RecipeEntry& entry : part) end += entry.size_bytes;
    begin += part_size;
  }
  return connection_
      .Prepare(
          "UPDATE recipes SET size_bytes = $1, kept_bytes = kept_bytes + $2 WHERE recipe_id = $3")
      .Bind(end)
      .Bind(taken.kept_bytes)
      .Bind(recipe_id)
      .Run();
}

absl::Status PostgresTransaction::DropPendingRecipe(int64_t recipe_id) {
  if (recipe_id == 0) return absl::OkStatus();
  return connection_
      .Prepare(
          "WITH gone AS (DELETE FROM pending_recipes WHERE recipe_id = $1 RETURNING recipe_id) "
          "INSERT INTO dropped_recipes SELECT recipe_id FROM gone ON CONFLICT DO NOTHING")
      .Bind(recipe_id)
      .Run();
}

absl::StatusOr<int64_t> PostgresTransaction::ReleaseRecipes(int limit) {
  int64_t released = 0;
  while (released < limit) {
    // What another service releases at the same time is left to it.
    Query dropped = connection_.Prepare(
        "SELECT recipe_id FROM dropped_recipes ORDER BY recipe_id LIMIT 1 FOR UPDATE SKIP LOCKED");
    ASSIGN_OR_RETURN(const bool found, dropped.Step());
    if (!found) break;
    const int64_t recipe_id = dropped.Int(0);
    Query parts = connection_.Prepare(
        "SELECT first_offset, entries FROM recipe_parts WHERE recipe_id = $1 "
        "ORDER BY first_offset LIMIT $2");
    parts.Bind(recipe_id).Bind(PartsFor(limit - released));
    std::vector<RecipeEntry> entries;
    std::vector<int64_t> offsets;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, parts.Step());
      if (!more) break;
      ASSIGN_OR_RETURN(const std::vector<RecipeEntry> part, DecodeEntries(parts.Blob(1)));
      entries.insert(entries.end(), part.begin(), part.end());
      offsets.push_back(parts.Int(0));
    }
    if (offsets.empty()) {
      RETURN_IF_ERROR(ForgetRecipe(recipe_id));
      continue;
    }
    RETURN_IF_ERROR(ReleaseEntries(entries));
    RETURN_IF_ERROR(
        connection_
            .Prepare("DELETE FROM recipe_parts WHERE recipe_id = $1 AND first_offset = ANY($2)")
            .Bind(recipe_id)
            .BindAll(offsets)
            .Run());
    released += std::ssize(entries);
  }
  return released;
}

absl::Status PostgresTransaction::ReleaseEntries(const std::vector<RecipeEntry>& entries) {
  std::map<int64_t, int64_t> references;
  std::vector<int64_t> numbers;
  for (const RecipeEntry& entry : entries) {
    if (++references[entry.chunk] == 1) numbers.push_back(entry.chunk);
  }
  Query query = connection_.Prepare("SELECT " ROW_COLUMNS " FROM " ROW_TABLES
                                    " WHERE c.chunk_no = ANY($1) ORDER BY c.chunk_id "
                                    "FOR UPDATE OF c");
  ASSIGN_OR_RETURN(std::vector<ChunkRow> rows, ReadChunkRows(query.BindAll(numbers)));
  if (rows.size() != references.size()) return ChunksCorrupt("a chunk of a recipe is missing");
  ChunkChanges changes;
  for (ChunkRow& row : rows) changes.AddReferences(-references.at(row.number), row);
  return changes.Write(connection_, totals());
}

absl::Status PostgresTransaction::ForgetRecipe(int64_t recipe_id) {
  RETURN_IF_ERROR(connection_.Prepare("DELETE FROM dropped_recipes WHERE recipe_id = $1")
                      .Bind(recipe_id)
                      .Run());
  return connection_.Prepare("DELETE FROM recipes WHERE recipe_id = $1").Bind(recipe_id).Run();
}

}  // namespace backup::storage::postgres
