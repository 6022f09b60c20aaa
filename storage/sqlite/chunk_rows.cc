#include "storage/sqlite/chunk_rows.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace backup::storage {

absl::StatusOr<StoredChunk> ReadChunk(const Query& row) {
  const std::optional<ChunkId> id = ChunkId::FromBytes(row.Blob(1));
  if (!id) return ChunksCorrupt("a chunk's id is damaged");
  StoredChunk chunk;
  chunk.number = row.Int(0);
  chunk.ref = {*id, row.Int(2)};
  chunk.form = static_cast<StorageForm>(row.Int(3));
  chunk.coding = static_cast<ChunkCoding>(row.Int(4));
  chunk.is_damaged = row.Int(5) != 0;
  chunk.waits = row.Int(6) != 0;
  chunk.refs = row.Int(7);
  chunk.is_condemned = row.Int(8) != 0;
  chunk.stored_size = row.Int(9);
  if (row.IsNull(10)) {
    if (row.IsNull(15)) return ChunksCorrupt("a chunk is nowhere");
    chunk.payload = row.Blob(15);
    return chunk;
  }
  const std::optional<BlobId> blob = BlobId::FromBytes(row.Blob(13));
  if (!blob) return ChunksCorrupt("a chunk's pack is missing");
  chunk.pack = row.Int(10);
  chunk.index = static_cast<int>(row.Int(11));
  chunk.offset = row.Int(12);
  chunk.pack_blob = *blob;
  chunk.wrapped_key = row.Blob(14);
  return chunk;
}

absl::StatusOr<std::vector<StoredChunk>> ReadChunks(Query& query) {
  std::vector<StoredChunk> chunks;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return chunks;
    ASSIGN_OR_RETURN(StoredChunk chunk, ReadChunk(query));
    chunks.push_back(std::move(chunk));
  }
}

ChunkRow ReadChunkRow(const Query& row) {
  return {row.Int(0), row.Int(1),      row.Int(2),      row.Int(3),
          row.Int(4), row.Int(5) != 0, row.Int(6) != 0, row.Int(7) != 0};
}

void ChunkChanges::Change(const ChunkRow& row, int64_t sign) {
  if (row.refs <= 0) return;
  Sums& sums = sums_[row.pack];
  sums.chunks += sign;
  sums.unique_bytes += sign * row.size_bytes;
  sums.stored_bytes += sign * row.stored_size;
  if (row.waits) sums.waiting_bytes += sign * row.stored_size;
  if (row.is_damaged) sums.damaged_bytes += sign * row.stored_size;
}

absl::Status ChunkChanges::Write(Database& database) const {
  Sums all;
  int64_t pack_live_bytes = 0;
  for (const auto& [pack, sums] : sums_) {
    all.chunks += sums.chunks;
    all.unique_bytes += sums.unique_bytes;
    all.stored_bytes += sums.stored_bytes;
    all.waiting_bytes += sums.waiting_bytes;
    if (pack == 0) continue;
    pack_live_bytes += sums.stored_bytes;
    RETURN_IF_ERROR(WritePack(database, pack, sums));
  }
  for (const int64_t pack : left_packs_) RETURN_IF_ERROR(DropPackIfEmpty(database, pack));
  if (sums_.empty()) return absl::OkStatus();
  return database
      .Prepare(
          "UPDATE totals SET chunks = chunks + ?, unique_bytes = unique_bytes + ?, "
          "compressed_bytes = compressed_bytes + ?, waiting_bytes = waiting_bytes + ?, "
          "pack_live_bytes = pack_live_bytes + ?")
      .Bind(all.chunks)
      .Bind(all.unique_bytes)
      .Bind(all.stored_bytes)
      .Bind(all.waiting_bytes)
      .Bind(pack_live_bytes)
      .Run();
}

absl::Status ChunkChanges::WritePack(Database& database, int64_t pack, const Sums& sums) {
  return database
      .Prepare(
          "UPDATE packs SET live_bytes = live_bytes + ?, waiting_bytes = waiting_bytes + ?, "
          "damaged_bytes = damaged_bytes + ? WHERE pack_id = ?")
      .Bind(sums.stored_bytes)
      .Bind(sums.waiting_bytes)
      .Bind(sums.damaged_bytes)
      .Bind(pack)
      .Run();
}

absl::Status DropPackIfEmpty(Database& database, int64_t pack_id) {
  return database
      .Prepare(
          "DELETE FROM packs WHERE pack_id = ?1 "
          "AND NOT EXISTS (SELECT 1 FROM chunks WHERE pack_id = ?1)")
      .Bind(pack_id)
      .Run();
}

}  // namespace backup::storage
