#include <algorithm>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

// Of a table p. Where there are many packs, to count their chunks takes long.
#define PACK_COLUMNS                                                             \
  "pack_id, blob_id, size_bytes, live_bytes, waiting_bytes, form, wrapped_key, " \
  "condemned_epoch, footer_bytes, "
#define CHUNK_COUNT                \
  "(SELECT count(*) FROM (SELECT " \
  "1 FROM chunks WHERE chunks.pack_id = p.pack_id LIMIT 256))"
#define NO_CHUNK_COUNT "0"
static_assert(Snapshot::kManyChunks == 256);
// As of the index packs_to_rewrite; 16384 is Snapshot::kSmallWaste. Nothing makes a pack better of
// which a chunk that somebody needs cannot be read.
#define IS_TO_REWRITE                                                                     \
  "damaged_bytes = 0 AND (condemned_epoch > 0 OR waiting_bytes > 0 OR live_bytes = 0 OR " \
  "(live_bytes * 3 < (size_bytes - footer_bytes) * 2 AND "                                \
  "size_bytes - footer_bytes - live_bytes > 16384))"
static_assert(Snapshot::kSmallWaste == 16384);
static_assert(Snapshot::kLargeFooter == 131072);

// All rows.
absl::StatusOr<std::vector<PackInfo>> ReadPacks(Query& query) {
  std::vector<PackInfo> packs;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return packs;
    const std::optional<BlobId> blob = BlobId::FromBytes(query.Blob(1));
    if (!blob) return ChunksCorrupt("the blob id of a pack is damaged");
    packs.push_back({query.Int(0), *blob, query.Int(2), query.Int(3), query.Int(4),
                     static_cast<StorageForm>(query.Int(5)), query.Blob(6), query.Int(7),
                     query.Int(9), query.Int(8)});
  }
}

}  // namespace

absl::StatusOr<std::vector<StoredChunk>> SqliteTransaction::ListPackChunks(int64_t pack, int after,
                                                                           int limit) {
  Query query = database_.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES
                                  " WHERE c.pack_id = ? AND c.place > ? ORDER BY c.place LIMIT ?");
  return ReadChunks(query.Bind(pack).Bind(after).Bind(limit));
}

absl::StatusOr<std::optional<PackInfo>> SqliteTransaction::FindPack(int64_t pack) {
  Query query =
      database_.Prepare("SELECT " PACK_COLUMNS CHUNK_COUNT " FROM packs p WHERE pack_id = ?");
  ASSIGN_OR_RETURN(std::vector<PackInfo> found, ReadPacks(query.Bind(pack)));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

absl::StatusOr<std::vector<PackInfo>> SqliteTransaction::ListPacks(int64_t after, int limit) {
  Query query = database_.Prepare("SELECT " PACK_COLUMNS NO_CHUNK_COUNT
                                  " FROM packs p WHERE pack_id > ? ORDER BY pack_id LIMIT ?");
  return ReadPacks(query.Bind(after).Bind(limit));
}

absl::StatusOr<std::vector<PackInfo>> SqliteTransaction::ListPacksToRewrite(int64_t small_bytes,
                                                                            int limit) {
  // So that only chunks of those are counted that are listed.
  Query wasteful = database_.Prepare(
      "WITH p AS MATERIALIZED (SELECT * FROM packs WHERE " IS_TO_REWRITE
      " ORDER BY condemned_epoch = 0, live_bytes > 0 LIMIT ?) SELECT " PACK_COLUMNS CHUNK_COUNT
      " FROM p");
  ASSIGN_OR_RETURN(std::vector<PackInfo> packs, ReadPacks(wasteful.Bind(limit)));
  Query small = database_.Prepare("SELECT " PACK_COLUMNS CHUNK_COUNT
                                  " FROM packs p WHERE size_bytes < ? AND footer_bytes < 131072 "
                                  "AND damaged_bytes = 0 "
                                  "AND NOT (" IS_TO_REWRITE ") ORDER BY size_bytes LIMIT ?");
  small.Bind(small_bytes).Bind(limit - std::ssize(packs));
  ASSIGN_OR_RETURN(const std::vector<PackInfo> small_packs, ReadPacks(small));
  packs.insert(packs.end(), small_packs.begin(), small_packs.end());
  return packs;
}

absl::StatusOr<int64_t> SqliteTransaction::CondemnPacks(const std::vector<int64_t>& packs) {
  Query next = database_.Prepare("UPDATE totals SET epoch = epoch + 1 RETURNING epoch");
  RETURN_IF_ERROR(next.Step().status());
  const int64_t epoch = next.Int(0);
  for (const int64_t pack : packs) {
    RETURN_IF_ERROR(database_.Prepare("UPDATE packs SET condemned_epoch = ? WHERE pack_id = ?")
                        .Bind(epoch)
                        .Bind(pack)
                        .Run());
    RETURN_IF_ERROR(
        database_.Prepare("UPDATE chunks SET is_condemned = 1 WHERE pack_id = ? AND refs <= 0")
            .Bind(pack)
            .Run());
  }
  return epoch;
}

absl::StatusOr<int64_t> SqliteTransaction::RewritePacks(const std::vector<int64_t>& sources,
                                                        const std::vector<NewPack>& packs) {
  size_t chunk_count = 0;
  for (const NewPack& pack : packs) {
    RETURN_IF_ERROR(CheckPendingBlob(pack.blob_id));
    chunk_count += pack.chunks.size();
  }
  if (chunk_count > kMaxRewrittenChunks)
    return absl::InvalidArgumentError("too many chunks are rewritten at once");
  std::vector<int64_t> left;
  for (const int64_t source : sources) {
    ASSIGN_OR_RETURN(const bool is_there, HasPack(source));
    if (is_there) left.push_back(source);
  }
  ChunkChanges changes;
  for (const NewPack& pack : packs) RETURN_IF_ERROR(PutRewritten(pack, left, changes));
  RETURN_IF_ERROR(changes.Write(database_));
  int64_t gone = 0;
  int64_t room = kMaxRewrittenChunks;
  for (const int64_t source : left) {
    RETURN_IF_ERROR(RemoveCondemned(source, room));
    ASSIGN_OR_RETURN(const bool is_there, HasPack(source));
    if (!is_there) ++gone;
  }
  return gone;
}

absl::Status SqliteTransaction::PutRewritten(const NewPack& pack,
                                             const std::vector<int64_t>& sources,
                                             ChunkChanges& changes) {
  ASSIGN_OR_RETURN(const int64_t pack_id, InsertPack(pack));
  changes.NoteLeft(pack_id);  // If nothing comes to it.
  for (const PackedChunk& chunk : pack.chunks) {
    ASSIGN_OR_RETURN(std::optional<ChunkRow> row, SelectChunkRow(chunk.id));
    if (row && std::find(sources.begin(), sources.end(), row->pack) != sources.end())
      RETURN_IF_ERROR(MoveChunk(chunk, pack, pack_id, *row, changes));
  }
  return absl::OkStatus();
}

absl::Status SqliteTransaction::RemoveCondemned(int64_t pack_id, int64_t& room) {
  RETURN_IF_ERROR(database_
                      .Prepare("DELETE FROM chunks WHERE chunk_no IN (SELECT chunk_no FROM chunks "
                               "WHERE pack_id = ? AND is_condemned AND refs <= 0 LIMIT ?)")
                      .Bind(pack_id)
                      .Bind(room)
                      .Run());
  Query removed = database_.Prepare("SELECT changes()");
  RETURN_IF_ERROR(removed.Step().status());
  room -= removed.Int(0);
  RETURN_IF_ERROR(DropPackIfEmpty(database_, pack_id));
  Query query = database_.Prepare(
      "SELECT EXISTS (SELECT 1 FROM packs JOIN chunks USING (pack_id) "
      "WHERE pack_id = ? AND condemned_epoch > 0 AND refs <= 0 AND NOT is_condemned)");
  RETURN_IF_ERROR(query.Bind(pack_id).Step().status());
  return query.Int(0) == 0 ? absl::OkStatus() : CondemnPacks({pack_id}).status();
}

absl::StatusOr<int64_t> SqliteTransaction::InsertPack(const NewPack& pack) {
  RETURN_IF_ERROR(TakePendingBlob(pack.blob_id));
  Query insert = database_.Prepare(
      "INSERT INTO packs (blob_id, size_bytes, footer_bytes, form, wrapped_key) "
      "VALUES (?, ?, ?, ?, ?) "
      "RETURNING pack_id");
  insert.BindBlob(pack.blob_id.bytes())
      .Bind(pack.size_bytes)
      .Bind(pack.footer_bytes)
      .Bind(static_cast<int>(pack.form))
      .BindBlob(pack.wrapped_key);
  RETURN_IF_ERROR(insert.Step().status());
  return insert.Int(0);
}

absl::StatusOr<bool> SqliteTransaction::HasPack(int64_t pack_id) {
  return database_.Prepare("SELECT 1 FROM packs WHERE pack_id = ?").Bind(pack_id).Step();
}

}  // namespace backup::storage
