#include "storage/postgres/chunk_rows.h"

#include <iterator>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "storage/catalog/recipe_entries.h"

namespace backup::storage::postgres {

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

absl::StatusOr<std::vector<ChunkRow>> ReadChunkRows(Query& query) {
  std::vector<ChunkRow> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return rows;
    rows.push_back({query.Int(0), ChunkId::FromBytes(query.Blob(1)).value_or(ChunkId()),
                    query.Int(2), query.Int(3), query.Int(4), query.Int(5), query.Int(6),
                    query.Int(7), static_cast<StorageForm>(query.Int(8)),
                    static_cast<ChunkCoding>(query.Int(9)), query.Int(10) != 0, query.Int(11) != 0,
                    query.Int(12) != 0, query.Blob(13), query.Blob(14)});
  }
}

void ChunkChanges::Count(const ChunkRow& row, int64_t sign) {
  if (row.refs <= 0) return;
  Sums& sums = sums_[row.pack];
  sums.chunks += sign;
  sums.unique_bytes += sign * row.size_bytes;
  sums.stored_bytes += sign * row.stored_size;
  if (row.waits) sums.waiting_bytes += sign * row.stored_size;
  if (row.is_damaged) sums.damaged_bytes += sign * row.stored_size;
}

void ChunkChanges::CountHealed(const ChunkRow& row) {
  if (row.is_damaged && row.refs > 0) ++healed_;
}

void ChunkChanges::Leave(ChunkRow& row) {
  if (row.IsNew()) return;
  CountHealed(row);
  Count(row, -1);
  if (row.pack != 0) {
    NotePack(row.pack);
  } else {
    old_payloads_.insert(row.number);
  }
}

void ChunkChanges::PutInPack(const PackedChunk& chunk, StorageForm form, int64_t pack_id,
                             ChunkRow& row) {
  const int64_t size_bytes = row.IsNew() ? chunk.size_bytes : row.size_bytes;
  Leave(row);
  row = {row.number,  row.id,       size_bytes, chunk.stored_size, row.refs,   pack_id,
         chunk.index, chunk.offset, form,       chunk.coding,      chunk.waits};
  Count(row, 1);
  rows_[row.number] = row;
}

void ChunkChanges::PutInline(const InlineChunk& chunk, ChunkRow& row) {
  const int64_t size_bytes = row.IsNew() ? chunk.ref.size_bytes : row.size_bytes;
  Leave(row);
  row = {row.number, row.id,     size_bytes,  std::ssize(chunk.payload), row.refs, 0, 0,
         0,          chunk.form, chunk.coding};
  Count(row, 1);
  old_payloads_.erase(row.number);
  new_payloads_[row.number] = chunk.payload;
  rows_[row.number] = row;
}

void ChunkChanges::AddReferences(int64_t count, ChunkRow& row) {
  const ChunkRow before = row;
  row.refs += count;
  row.is_condemned = false;  // Who refers to a condemned chunk saves it.
  if ((before.refs > 0) != (row.refs > 0)) {
    Count(before, -1);
    Count(row, 1);
  }
  if (row.refs <= 0 && row.pack == 0) old_payloads_.insert(row.number);
  rows_[row.number] = row;
}

void ChunkChanges::SetDamaged(bool is_damaged, ChunkRow& row) {
  CountHealed(row);
  Count(row, -1);
  row.is_damaged = is_damaged;
  Count(row, 1);
  rows_[row.number] = row;
}

absl::Status ChunkChanges::Write(Connection& connection, Totals& totals) {
  RETURN_IF_ERROR(WriteRows(connection));
  RETURN_IF_ERROR(WritePacks(connection));
  for (const auto& [pack, sums] : sums_) {
    totals.Add(Total::kChunks, sums.chunks);
    totals.Add(Total::kUniqueBytes, sums.unique_bytes);
    totals.Add(Total::kCompressedBytes, sums.stored_bytes);
    totals.Add(Total::kWaitingBytes, sums.waiting_bytes);
    if (pack != 0) totals.Add(Total::kPackLiveBytes, sums.stored_bytes);
  }
  totals.Add(Total::kHealedChunks, healed_);
  return absl::OkStatus();
}

absl::Status ChunkChanges::WriteRows(Connection& connection) const {
  std::vector<int64_t> gone;
  std::vector<int64_t> columns[12];
  for (const auto& [number, row] : rows_) {
    if (row.refs <= 0 && row.pack == 0) {
      gone.push_back(number);
      continue;
    }
    const int64_t values[] = {number,
                              row.size_bytes,
                              row.stored_size,
                              row.refs,
                              row.pack,
                              row.place,
                              row.offset,
                              static_cast<int64_t>(row.form),
                              static_cast<int64_t>(row.coding),
                              row.waits ? 1 : 0,
                              row.is_damaged ? 1 : 0,
                              row.is_condemned ? 1 : 0};
    for (size_t i = 0; i < std::size(columns); ++i) columns[i].push_back(values[i]);
  }
  if (!old_payloads_.empty()) {
    const std::vector<int64_t> numbers(old_payloads_.begin(), old_payloads_.end());
    RETURN_IF_ERROR(connection.Prepare("DELETE FROM chunk_payloads WHERE chunk_no = ANY($1)")
                        .BindAll(numbers)
                        .Run());
  }
  if (!gone.empty()) {
    RETURN_IF_ERROR(
        connection.Prepare("DELETE FROM chunks WHERE chunk_no = ANY($1)").BindAll(gone).Run());
  }
  for (const auto& [number, payload] : new_payloads_) {
    RETURN_IF_ERROR(connection
                        .Prepare("INSERT INTO chunk_payloads VALUES ($1, $2) "
                                 "ON CONFLICT (chunk_no) DO UPDATE SET payload = EXCLUDED.payload")
                        .Bind(number)
                        .BindBlob(payload)
                        .Run());
  }
  if (columns[0].empty()) return absl::OkStatus();
  if (columns[0].size() == 1) {
    Query update = connection.Prepare(
        "UPDATE chunks SET size_bytes = $2, stored_size = $3, refs = $4, "
        "pack_id = nullif($5::bigint, 0), place = CASE WHEN $5::bigint <> 0 THEN $6::bigint END, "
        "pack_offset = CASE WHEN $5::bigint <> 0 THEN $7::bigint END, form = $8, coding = $9, "
        "waits = $10::bigint <> 0, is_damaged = $11::bigint <> 0, "
        "is_condemned = $12::bigint <> 0 WHERE chunk_no = $1");
    for (const std::vector<int64_t>& column : columns) update.Bind(column.front());
    return update.Run();
  }
  Query update = connection.Prepare(
      "UPDATE chunks SET size_bytes = n.size_bytes, stored_size = n.stored_size, refs = n.refs, "
      "pack_id = nullif(n.pack_id, 0), "
      "place = CASE WHEN n.pack_id <> 0 THEN n.place END, "
      "pack_offset = CASE WHEN n.pack_id <> 0 THEN n.pack_offset END, form = n.form, "
      "coding = n.coding, waits = n.waits <> 0, is_damaged = n.is_damaged <> 0, "
      "is_condemned = n.is_condemned <> 0 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], "
      "$4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], "
      "$10::bigint[], $11::bigint[], $12::bigint[]) AS n (chunk_no, size_bytes, stored_size, "
      "refs, pack_id, place, pack_offset, form, coding, waits, is_damaged, is_condemned) "
      "WHERE chunks.chunk_no = n.chunk_no");
  for (const std::vector<int64_t>& column : columns) update.BindAll(column);
  return update.Run();
}

absl::Status ChunkChanges::WritePacks(Connection& connection) const {
  std::set<int64_t> touched = packs_;
  for (const auto& [pack, sums] : sums_) {
    if (pack != 0) touched.insert(pack);
  }
  if (touched.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(LockPacks(connection, {touched.begin(), touched.end()}));
  for (const auto& [pack, sums] : sums_) {
    if (pack == 0) continue;
    RETURN_IF_ERROR(
        connection
            .Prepare("UPDATE packs SET live_bytes = live_bytes + $1, "
                     "waiting_bytes = waiting_bytes + $2, damaged_bytes = damaged_bytes + $3 "
                     "WHERE pack_id = $4")
            .Bind(sums.stored_bytes)
            .Bind(sums.waiting_bytes)
            .Bind(sums.damaged_bytes)
            .Bind(pack)
            .Run());
  }
  if (packs_.empty()) return absl::OkStatus();
  return DropEmptyPacks(connection, {packs_.begin(), packs_.end()});
}

absl::Status LockPacks(Connection& connection, const std::vector<int64_t>& packs) {
  return connection
      .Prepare("SELECT 1 FROM packs WHERE pack_id = ANY($1) ORDER BY pack_id FOR UPDATE")
      .BindAll(packs)
      .Run();
}

absl::Status DropEmptyPacks(Connection& connection, const std::vector<int64_t>& packs) {
  return connection
      .Prepare(
          "WITH gone AS (DELETE FROM packs p WHERE pack_id = ANY($1) AND NOT EXISTS "
          "(SELECT 1 FROM chunks c WHERE c.pack_id = p.pack_id) RETURNING blob_id, size_bytes), "
          "dropped AS (INSERT INTO dropped_blobs SELECT blob_id FROM gone ON CONFLICT DO NOTHING) "
          "UPDATE totals SET packs = packs - (SELECT count(*) FROM gone), "
          "pack_bytes = pack_bytes - (SELECT sum(size_bytes)::bigint FROM gone) "
          "WHERE shard = shard() AND EXISTS (SELECT 1 FROM gone)")
      .BindAll(packs)
      .Run();
}

}  // namespace backup::storage::postgres
