#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/chunk.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/totals.h"

namespace backup::storage::postgres {

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

// A chunk's row, as a transaction that has locked it changes it. ROW_COLUMNS are its columns, of
// "c", and its pack's key and blob, of "p".
struct ChunkRow {
  int64_t number = 0;
  ChunkId id;
  int64_t size_bytes = 0;
  int64_t stored_size = 0;
  int64_t refs = 0;
  int64_t pack = 0;  // 0: it is in the catalog.
  int64_t place = 0;
  int64_t offset = 0;
  StorageForm form = StorageForm::kPlain;
  ChunkCoding coding = ChunkCoding::kRaw;
  bool waits = false;
  bool is_damaged = false;
  bool is_condemned = false;
  std::string pack_key = {};
  std::string pack_blob = {};

  // It has no place yet.
  bool IsNew() const { return stored_size < 0; }
  // Whether it counts as being where it is.
  bool IsUsable() const { return !is_damaged && !is_condemned; }
};
#define ROW_COLUMNS                                                                         \
  "c.chunk_no, c.chunk_id, c.size_bytes, c.stored_size, c.refs, c.pack_id, c.place, "       \
  "c.pack_offset, c.form, c.coding, c.waits, c.is_damaged, c.is_condemned, p.wrapped_key, " \
  "p.blob_id"
#define ROW_TABLES "chunks c LEFT JOIN packs p ON p.pack_id = c.pack_id"
// All rows.
absl::StatusOr<std::vector<ChunkRow>> ReadChunkRows(Query& query);

// What a transaction changes of chunks, and so of the counts of those with a reference, in totals
// and packs. Used by one thread at a time.
class ChunkChanges {
 public:
  // Each changes `row` as it will be in the database once Write() has written it.
  void PutInPack(const PackedChunk& chunk, StorageForm form, int64_t pack_id, ChunkRow& row);
  void PutInline(const InlineChunk& chunk, ChunkRow& row);
  // Adds references, or takes them away if `count` is negative.
  void AddReferences(int64_t count, ChunkRow& row);
  void SetDamaged(bool is_damaged, ChunkRow& row);
  // A pack goes if it has no chunk in the end.
  void NotePack(int64_t pack) { packs_.insert(pack); }

  // Writes it all; costs no round trip.
  absl::Status Write(Connection& connection, Totals& totals);

 private:
  struct Sums {
    int64_t chunks = 0;
    int64_t unique_bytes = 0;
    int64_t stored_bytes = 0;
    int64_t waiting_bytes = 0;
    int64_t damaged_bytes = 0;
  };

  // A chunk counts from now on as its row says, or no longer. Nothing of one without a reference.
  void Count(const ChunkRow& row, int64_t sign);
  // Notes that a damaged chunk is right from now on, if somebody needs it.
  void CountHealed(const ChunkRow& row);
  void Leave(ChunkRow& row);
  absl::Status WriteRows(Connection& connection) const;
  absl::Status WritePacks(Connection& connection) const;

  std::map<int64_t, ChunkRow> rows_;             // By their numbers.
  std::map<int64_t, std::string> new_payloads_;  // By the chunks' numbers.
  std::set<int64_t> old_payloads_;
  std::map<int64_t, Sums> sums_;  // Of each pack; 0: of the catalog.
  std::set<int64_t> packs_;       // That may be empty in the end.
  int64_t healed_ = 0;
};

// Drops those of these packs that have no chunk. They must be locked (LockPacks), by a statement of
// its own: this one sees what others did until then.
absl::Status LockPacks(Connection& connection, const std::vector<int64_t>& packs);
absl::Status DropEmptyPacks(Connection& connection, const std::vector<int64_t>& packs);

}  // namespace backup::storage::postgres
