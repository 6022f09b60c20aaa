#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/recipe_entries.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// Column lists and the readers of rows that select them, in this order. CHUNK_TABLES has all that
// the columns are of: "c" is chunks, "p" its pack, if it is in one, and "i" its payload, if not.
#define CHUNK_COLUMNS                                                                     \
  "c.chunk_no, c.chunk_id, c.size_bytes, c.form, c.coding, c.is_damaged, c.waits, "       \
  "c.refs, c.is_condemned, c.stored_size, c.pack_id, c.place, c.pack_offset, p.blob_id, " \
  "p.wrapped_key, i.payload"
#define CHUNK_TABLES                                     \
  "chunks c LEFT JOIN packs p ON p.pack_id = c.pack_id " \
  "LEFT JOIN chunk_payloads i ON i.chunk_no = c.chunk_no"

// Reason STATE_CORRUPT.
absl::StatusOr<StoredChunk> ReadChunk(const Query& row);
// All rows.
absl::StatusOr<std::vector<StoredChunk>> ReadChunks(Query& query);

// What a transaction knows of a chunk's row. ROW_COLUMNS are its columns.
struct ChunkRow {
  int64_t number = 0;
  int64_t size_bytes = 0;
  int64_t stored_size = 0;
  int64_t refs = 0;
  int64_t pack = 0;  // 0: it is in the catalog.
  bool waits = false;
  bool is_damaged = false;
  bool is_condemned = false;

  // Whether it counts as being where it is.
  bool IsUsable() const { return !is_damaged && !is_condemned; }
};
#define ROW_COLUMNS \
  "chunk_no, size_bytes, stored_size, refs, pack_id, waits, is_damaged, is_condemned"
ChunkRow ReadChunkRow(const Query& row);

// What a transaction changes of the counts of chunks with a reference, in totals and packs, and the
// packs from which it took chunks away. Used by one thread at a time.
class ChunkChanges {
 public:
  // A chunk counts from now on as its row says, or no longer. Nothing of one without a reference.
  void Count(const ChunkRow& row) { Change(row, 1); }
  void Discount(const ChunkRow& row) { Change(row, -1); }
  void NoteLeft(int64_t pack) { left_packs_.insert(pack); }

  // Writes the counts and drops the packs that have no chunk any more.
  absl::Status Write(Database& database) const;

 private:
  struct Sums {
    int64_t chunks = 0;
    int64_t unique_bytes = 0;
    int64_t stored_bytes = 0;
    int64_t waiting_bytes = 0;
    int64_t damaged_bytes = 0;
  };

  void Change(const ChunkRow& row, int64_t sign);
  static absl::Status WritePack(Database& database, int64_t pack, const Sums& sums);

  std::map<int64_t, Sums> sums_;  // Of each pack; 0: of the catalog.
  std::set<int64_t> left_packs_;
};

absl::Status DropPackIfEmpty(Database& database, int64_t pack_id);

}  // namespace backup::storage
