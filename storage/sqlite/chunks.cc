#include "base/status_macros.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<std::optional<StoredChunk>> SqliteTransaction::FindChunk(const ChunkId& id) {
  Query query = database_.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES
                                  " WHERE c.chunk_id = ? AND c.pack_id IS NOT NULL "
                                  "AND NOT c.is_damaged AND NOT c.is_condemned");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return std::nullopt;
  return ReadChunk(query);
}

absl::StatusOr<std::vector<StoredChunk>> SqliteTransaction::ListInlineChunks(int64_t after,
                                                                             int limit) {
  // Payloads come first, so that chunks in packs cost nothing.
  Query query = database_.Prepare("SELECT " CHUNK_COLUMNS
                                  " FROM chunk_payloads i "
                                  "CROSS JOIN chunks c ON c.chunk_no = i.chunk_no "
                                  "LEFT JOIN packs p ON p.pack_id = c.pack_id "
                                  "WHERE i.chunk_no > ? ORDER BY i.chunk_no LIMIT ?");
  query.Bind(after).Bind(limit);
  return ReadChunks(query);
}

absl::StatusOr<int64_t> SqliteTransaction::LastInlineChunk() {
  Query query = database_.Prepare("SELECT COALESCE(MAX(chunk_no), 0) FROM chunk_payloads");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<std::optional<ChunkRow>> SqliteTransaction::SelectChunkRow(const ChunkId& id) {
  Query query = database_.Prepare("SELECT " ROW_COLUMNS " FROM chunks WHERE chunk_id = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return std::nullopt;
  return ReadChunkRow(query);
}

absl::StatusOr<std::optional<ChunkRow>> SqliteTransaction::SelectChunkRow(int64_t number) {
  Query query = database_.Prepare("SELECT " ROW_COLUMNS " FROM chunks WHERE chunk_no = ?");
  ASSIGN_OR_RETURN(const bool found, query.Bind(number).Step());
  if (!found) return std::nullopt;
  return ReadChunkRow(query);
}

absl::Status SqliteTransaction::InsertChunk(const PackedChunk& chunk, const NewPack& pack,
                                            int64_t pack_id, ChunkRow& row) {
  Query insert = database_.Prepare(
      "INSERT INTO chunks (chunk_id, size_bytes, stored_size, form, coding, waits, pack_id, "
      "place, pack_offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.BindBlob(chunk.id.bytes())
      .Bind(chunk.size_bytes)
      .Bind(chunk.stored_size)
      .Bind(static_cast<int>(pack.form))
      .Bind(static_cast<int>(chunk.coding))
      .Bind(chunk.waits ? 1 : 0)
      .Bind(pack_id)
      .Bind(chunk.index)
      .Bind(chunk.offset);
  RETURN_IF_ERROR(insert.Run());
  row = {database_.last_row_id(), chunk.size_bytes, chunk.stored_size, 0, pack_id, chunk.waits};
  return absl::OkStatus();
}

absl::Status SqliteTransaction::MoveChunk(const PackedChunk& chunk, const NewPack& pack,
                                          int64_t pack_id, ChunkRow& row, ChunkChanges& changes) {
  RETURN_IF_ERROR(CountHealed(row));
  changes.Discount(row);
  if (row.pack != 0) {
    changes.NoteLeft(row.pack);
  } else {
    RETURN_IF_ERROR(
        database_.Prepare("DELETE FROM chunk_payloads WHERE chunk_no = ?").Bind(row.number).Run());
  }
  row = {row.number, row.size_bytes, chunk.stored_size, row.refs, pack_id, chunk.waits};
  changes.Count(row);
  return database_
      .Prepare(
          "UPDATE chunks SET stored_size = ?, form = ?, coding = ?, waits = ?, is_damaged = 0, "
          "is_condemned = 0, pack_id = ?, place = ?, pack_offset = ? WHERE chunk_no = ?")
      .Bind(chunk.stored_size)
      .Bind(static_cast<int>(pack.form))
      .Bind(static_cast<int>(chunk.coding))
      .Bind(chunk.waits ? 1 : 0)
      .Bind(pack_id)
      .Bind(chunk.index)
      .Bind(chunk.offset)
      .Bind(row.number)
      .Run();
}

absl::Status SqliteTransaction::InsertInlineChunk(const InlineChunk& chunk, ChunkRow& row) {
  RETURN_IF_ERROR(
      database_
          .Prepare("INSERT INTO chunks (chunk_id, size_bytes, stored_size, form, coding) "
                   "VALUES (?, ?, ?, ?, ?)")
          .BindBlob(chunk.ref.id.bytes())
          .Bind(chunk.ref.size_bytes)
          .Bind(std::ssize(chunk.payload))
          .Bind(static_cast<int>(chunk.form))
          .Bind(static_cast<int>(chunk.coding))
          .Run());
  row = {database_.last_row_id(), chunk.ref.size_bytes, std::ssize(chunk.payload)};
  return database_.Prepare("INSERT INTO chunk_payloads VALUES (?, ?)")
      .Bind(row.number)
      .BindBlob(chunk.payload)
      .Run();
}

absl::Status SqliteTransaction::MoveInline(const InlineChunk& chunk, ChunkRow& row,
                                           ChunkChanges& changes) {
  RETURN_IF_ERROR(CountHealed(row));
  changes.Discount(row);
  if (row.pack != 0) changes.NoteLeft(row.pack);
  row = {row.number, row.size_bytes, std::ssize(chunk.payload), row.refs};
  changes.Count(row);
  RETURN_IF_ERROR(
      database_
          .Prepare("UPDATE chunks SET stored_size = ?, form = ?, coding = ?, waits = 0, "
                   "is_damaged = 0, is_condemned = 0, pack_id = NULL, place = NULL, "
                   "pack_offset = NULL WHERE chunk_no = ?")
          .Bind(row.stored_size)
          .Bind(static_cast<int>(chunk.form))
          .Bind(static_cast<int>(chunk.coding))
          .Bind(row.number)
          .Run());
  return database_.Prepare("INSERT OR REPLACE INTO chunk_payloads VALUES (?, ?)")
      .Bind(row.number)
      .BindBlob(chunk.payload)
      .Run();
}

absl::Status SqliteTransaction::AddReferences(int64_t count, ChunkRow& row, ChunkChanges& changes) {
  const ChunkRow before = row;
  row.refs += count;
  row.is_condemned = false;
  if ((before.refs > 0) != (row.refs > 0)) {
    changes.Discount(before);
    changes.Count(row);
  }
  if (row.refs <= 0 && row.pack == 0)
    return database_.Prepare("DELETE FROM chunks WHERE chunk_no = ?").Bind(row.number).Run();
  // Who refers to a condemned chunk saves it.
  return database_.Prepare("UPDATE chunks SET refs = ?, is_condemned = 0 WHERE chunk_no = ?")
      .Bind(row.refs)
      .Bind(row.number)
      .Run();
}

}  // namespace backup::storage
