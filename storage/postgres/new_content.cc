#include <set>
#include <variant>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

namespace backup::storage::postgres {
namespace {

// Ids of blobs that content brings, which must be pending.
std::vector<std::string> BlobsOf(const NewContent& content) {
  std::vector<std::string> blobs;
  if (const auto* blob = std::get_if<NewBlob>(&content)) blobs.emplace_back(blob->id.bytes());
  if (const auto* chunks = std::get_if<NewChunks>(&content)) {
    for (const NewPack& pack : chunks->packs) blobs.emplace_back(pack.blob_id.bytes());
  }
  return blobs;
}

// Chunks of which content has the bytes.
std::set<ChunkId> BroughtBy(const NewChunks& chunks) {
  std::set<ChunkId> brought;
  for (const InlineChunk& chunk : chunks.inlined) brought.insert(chunk.ref.id);
  for (const NewPack& pack : chunks.packs) {
    for (const PackedChunk& chunk : pack.chunks) brought.insert(chunk.id);
  }
  return brought;
}

}  // namespace

std::unique_ptr<PostgresTransaction::ContentQueries> PostgresTransaction::AskForContent(
    const NewContent& content) {
  auto queries = std::make_unique<ContentQueries>();
  const std::vector<std::string> blobs = BlobsOf(content);
  queries->blobs = blobs.size();
  if (!blobs.empty()) {
    queries->pending.emplace(
        connection_,
        "SELECT 1 FROM pending_blobs WHERE blob_id = ANY($1) ORDER BY blob_id FOR UPDATE");
    queries->pending->BindAllBlobs(blobs).Start();
  }
  const auto* chunks = std::get_if<NewChunks>(&content);
  if (chunks == nullptr) return queries;
  if (chunks->recipe_id != 0) {
    queries->recipe.emplace(connection_,
                            "SELECT r.size_bytes, r.kept_bytes FROM pending_recipes p JOIN recipes "
                            "r USING (recipe_id) WHERE recipe_id = $1 FOR UPDATE OF p");
    queries->recipe->Bind(chunks->recipe_id).Start();
  }
  std::set<ChunkId> ids = BroughtBy(*chunks);
  queries->brought = BytesOf(ids);
  for (const ChunkRef& step : chunks->recipe) ids.insert(step.id);
  if (ids.empty()) return queries;
  // What is new gets a row, so that others who bring the same wait for this transaction.
  InsertNewRows(*queries).IgnoreError();  // The next statement tells it.
  queries->chunks.emplace(connection_, "SELECT " ROW_COLUMNS " FROM " ROW_TABLES
                                       " WHERE c.chunk_id = ANY($1) ORDER BY c.chunk_id "
                                       "FOR UPDATE OF c");
  queries->chunks->BindAllBlobs(BytesOf(ids)).Start();
  return queries;
}

absl::Status PostgresTransaction::InsertNewRows(const ContentQueries& queries) {
  if (queries.brought.empty()) return absl::OkStatus();
  if (queries.brought.size() == 1) {
    return connection_.Prepare("INSERT INTO chunks (chunk_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .BindBlob(queries.brought.front())
        .Run();
  }
  return connection_
      .Prepare(
          "INSERT INTO chunks (chunk_id) SELECT id FROM unnest($1::bytea[]) AS id "
          "WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunk_id = id) ORDER BY id "
          "ON CONFLICT DO NOTHING")
      .BindAllBlobs(queries.brought)
      .Run();
}

absl::Status PostgresTransaction::ForgetNewRows(const ContentQueries& queries) {
  if (queries.brought.empty()) return absl::OkStatus();
  return connection_.Prepare("DELETE FROM chunks WHERE chunk_id = ANY($1) AND stored_size = -1")
      .BindAllBlobs(queries.brought)
      .Run();
}

absl::Status PostgresTransaction::CheckPending(ContentQueries& queries) {
  if (!queries.pending) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<int64_t> found, ReadNumbers(*queries.pending));
  return found.size() == queries.blobs ? absl::OkStatus() : LostSight();
}

absl::StatusOr<ContentReference> PostgresTransaction::TakeContent(ContentQueries& queries,
                                                                  const NewContent& content) {
  ContentReference reference;
  if (const auto* bytes = std::get_if<std::string>(&content)) {
    reference.kept_bytes = std::ssize(*bytes);
    return reference;
  }
  if (const auto* chunks = std::get_if<NewChunks>(&content)) return TakeChunks(queries, *chunks);
  const auto& blob = std::get<NewBlob>(content);
  RETURN_IF_ERROR(CheckPending(queries));
  RETURN_IF_ERROR(connection_.Prepare("DELETE FROM pending_blobs WHERE blob_id = $1")
                      .BindBlob(blob.id.bytes())
                      .Run());
  reference.blob = blob.id;
  reference.blob_size = reference.kept_bytes = blob.size_bytes;
  return reference;
}

absl::Status PostgresTransaction::DropContent(ContentQueries& queries, const NewContent& content) {
  RETURN_IF_ERROR(ForgetNewRows(queries));
  if (const auto* blob = std::get_if<NewBlob>(&content)) return DropPendingBlob(blob->id);
  const auto* chunks = std::get_if<NewChunks>(&content);
  if (chunks == nullptr) return absl::OkStatus();
  for (const NewPack& pack : chunks->packs) RETURN_IF_ERROR(DropPendingBlob(pack.blob_id));
  return DropPendingRecipe(chunks->recipe_id);
}

absl::StatusOr<ContentReference> PostgresTransaction::TakeChunks(ContentQueries& queries,
                                                                 const NewChunks& chunks) {
  ASSIGN_OR_RETURN(const Taken taken, TakeSteps(queries, chunks));
  ContentReference reference;
  reference.chunks = ChunkList{};
  reference.kept_bytes = taken.recipe_kept_bytes + taken.kept_bytes;
  if (chunks.recipe_id == 0 && taken.entries.size() <= 1) {
    if (!taken.entries.empty()) reference.chunks->chunk = taken.entries.front().chunk;
    return reference;
  }
  int64_t& recipe = reference.chunks->recipe = chunks.recipe_id;
  if (recipe == 0) {
    ASSIGN_OR_RETURN(recipe, InsertRecipe());
  }
  RETURN_IF_ERROR(AppendEntries(recipe, taken));
  RETURN_IF_ERROR(
      connection_.Prepare("DELETE FROM pending_recipes WHERE recipe_id = $1").Bind(recipe).Run());
  return reference;
}

absl::StatusOr<PostgresTransaction::Taken> PostgresTransaction::TakeSteps(ContentQueries& queries,
                                                                          const NewChunks& chunks) {
  if (chunks.recipe.size() > kMaxRecipePart)
    return absl::InvalidArgumentError("too many steps of a recipe at once");
  Taken taken;
  absl::StatusOr<ChunkRows> checked = CheckChunks(queries, chunks);
  if (checked.ok() && queries.recipe) {
    ASSIGN_OR_RETURN(const bool is_pending, queries.recipe->Step());
    if (!is_pending) checked = LostSight();
    if (is_pending) taken.recipe_size = queries.recipe->Int(0);
    if (is_pending) taken.recipe_kept_bytes = queries.recipe->Int(1);
  }
  if (!checked.ok()) RETURN_IF_ERROR(ForgetNewRows(queries));
  RETURN_IF_ERROR(checked.status());
  ChunkRows& rows = *checked;
  ChunkChanges changes;
  for (const InlineChunk& chunk : chunks.inlined) {
    ChunkRow& row = rows.at(chunk.ref.id);
    ASSIGN_OR_RETURN(const bool stays, IsUsable(row, chunk));
    if (stays) continue;
    changes.PutInline(chunk, row);
    taken.kept_bytes += std::ssize(chunk.payload);
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
  for (const auto& [id, count] : references) changes.AddReferences(count, rows.at(id));
  RETURN_IF_ERROR(changes.Write(connection_, totals()));
  return taken;
}

absl::StatusOr<PostgresTransaction::ChunkRows> PostgresTransaction::CheckChunks(
    ContentQueries& queries, const NewChunks& chunks) {
  RETURN_IF_ERROR(CheckPending(queries));
  ChunkRows rows;
  if (!queries.chunks) return rows;
  ASSIGN_OR_RETURN(std::vector<ChunkRow> found, ReadChunkRows(*queries.chunks));
  for (ChunkRow& row : found) rows.emplace(row.id, std::move(row));
  const std::set<ChunkId> brought = BroughtBy(chunks);
  for (const ChunkRef& step : chunks.recipe) {
    const auto row = rows.find(step.id);
    if (row == rows.end()) return LostSight();
    if (row->second.is_damaged && !brought.contains(step.id)) return LostSight();
  }
  for (const ChunkId& id : brought) {
    if (!rows.contains(id)) return LostSight();
  }
  return rows;
}

absl::StatusOr<bool> PostgresTransaction::IsUsable(const ChunkRow& row,
                                                   const InlineChunk& brought) {
  if (row.IsNew() || !row.IsUsable()) return false;
  if (row.pack == 0 || brought.has_pack_key == nullptr || row.pack_key.empty()) return true;
  const std::optional<BlobId> blob_id = BlobId::FromBytes(row.pack_blob);
  if (!blob_id) return ChunksCorrupt("the blob id of a pack is damaged");
  return brought.has_pack_key(row.pack_key, *blob_id);
}

absl::StatusOr<int64_t> PostgresTransaction::PutPack(const NewPack& pack, ChunkRows& rows,
                                                     ChunkChanges& changes) {
  ASSIGN_OR_RETURN(const int64_t pack_id, InsertPack(pack));
  changes.NotePack(pack_id);  // If nothing comes to it.
  int64_t grown = 0;
  for (const PackedChunk& chunk : pack.chunks) {
    ChunkRow& row = rows.at(chunk.id);
    if (!row.IsNew() && row.IsUsable()) continue;
    changes.PutInPack(chunk, pack.form, pack_id, row);
    grown += chunk.stored_size;
  }
  return grown;
}

absl::StatusOr<int64_t> PostgresTransaction::InsertPack(const NewPack& pack) {
  RETURN_IF_ERROR(connection_.Prepare("DELETE FROM pending_blobs WHERE blob_id = $1")
                      .BindBlob(pack.blob_id.bytes())
                      .Run());
  Query insert = connection_.Prepare(
      "INSERT INTO packs (blob_id, size_bytes, footer_bytes, form, wrapped_key) "
      "VALUES ($1, $2, $3, $4, $5) RETURNING pack_id");
  insert.BindBlob(pack.blob_id.bytes())
      .Bind(pack.size_bytes)
      .Bind(pack.footer_bytes)
      .Bind(static_cast<int>(pack.form))
      .BindBlob(pack.wrapped_key);
  RETURN_IF_ERROR(insert.Step().status());
  totals().Add(Total::kPacks, 1);
  totals().Add(Total::kPackBytes, pack.size_bytes);
  return insert.Int(0);
}

}  // namespace backup::storage::postgres
