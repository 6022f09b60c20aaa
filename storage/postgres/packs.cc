#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

namespace backup::storage::postgres {
namespace {

// Of a table p. Where there are many packs, to count their chunks takes long.
#define PACK_COLUMNS                                                                           \
  "p.pack_id, p.blob_id, p.size_bytes, p.live_bytes, p.waiting_bytes, p.form, p.wrapped_key, " \
  "p.condemned_epoch, p.footer_bytes, "
#define CHUNK_COUNT                \
  "(SELECT count(*) FROM (SELECT " \
  "1 FROM chunks WHERE chunks.pack_id = p.pack_id LIMIT 256) counted)"
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

absl::StatusOr<std::vector<StoredChunk>> PostgresTransaction::ListPackChunks(int64_t pack,
                                                                             int after, int limit) {
  Query query =
      connection_.Prepare("SELECT " CHUNK_COLUMNS " FROM " CHUNK_TABLES
                          " WHERE c.pack_id = $1 AND c.place > $2 ORDER BY c.place LIMIT $3");
  return ReadChunks(query.Bind(pack).Bind(after).Bind(limit));
}

absl::StatusOr<std::optional<PackInfo>> PostgresTransaction::FindPack(int64_t pack) {
  Query query =
      connection_.Prepare("SELECT " PACK_COLUMNS CHUNK_COUNT " FROM packs p WHERE pack_id = $1");
  ASSIGN_OR_RETURN(std::vector<PackInfo> found, ReadPacks(query.Bind(pack)));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

absl::StatusOr<std::vector<PackInfo>> PostgresTransaction::ListPacks(int64_t after, int limit) {
  Query query = connection_.Prepare("SELECT " PACK_COLUMNS NO_CHUNK_COUNT
                                    " FROM packs p WHERE pack_id > $1 ORDER BY pack_id LIMIT $2");
  return ReadPacks(query.Bind(after).Bind(limit));
}

absl::StatusOr<std::vector<PackInfo>> PostgresTransaction::ListPacksToRewrite(int64_t small_bytes,
                                                                              int limit) {
  // So that only chunks of those are counted that are listed.
  Query wasteful = connection_.Prepare(
      "SELECT " PACK_COLUMNS CHUNK_COUNT " FROM (SELECT * FROM packs WHERE " IS_TO_REWRITE
      " ORDER BY (condemned_epoch = 0), (live_bytes > 0) LIMIT $1) p");
  ASSIGN_OR_RETURN(std::vector<PackInfo> packs, ReadPacks(wasteful.Bind(limit)));
  Query small = connection_.Prepare("SELECT " PACK_COLUMNS CHUNK_COUNT
                                    " FROM packs p WHERE size_bytes < $1 AND footer_bytes < 131072 "
                                    "AND damaged_bytes = 0 "
                                    "AND NOT (" IS_TO_REWRITE ") ORDER BY size_bytes LIMIT $2");
  small.Bind(small_bytes).Bind(limit - std::ssize(packs));
  ASSIGN_OR_RETURN(const std::vector<PackInfo> small_packs, ReadPacks(small));
  packs.insert(packs.end(), small_packs.begin(), small_packs.end());
  return packs;
}

absl::StatusOr<int64_t> PostgresTransaction::CondemnPacks(const std::vector<int64_t>& packs) {
  Query next = connection_.Prepare("UPDATE epochs SET epoch = epoch + 1 RETURNING epoch");
  RETURN_IF_ERROR(next.Step().status());
  const int64_t epoch = next.Int(0);
  RETURN_IF_ERROR(connection_
                      .Prepare("SELECT 1 FROM chunks WHERE pack_id = ANY($1) AND refs <= 0 AND NOT "
                               "is_condemned ORDER BY chunk_id FOR UPDATE")
                      .BindAll(packs)
                      .Run());
  RETURN_IF_ERROR(
      connection_
          .Prepare("UPDATE chunks SET is_condemned = TRUE WHERE pack_id = ANY($1) AND refs <= 0 "
                   "AND NOT is_condemned")
          .BindAll(packs)
          .Run());
  RETURN_IF_ERROR(LockPacks(connection_, packs));
  RETURN_IF_ERROR(
      connection_.Prepare("UPDATE packs SET condemned_epoch = $1 WHERE pack_id = ANY($2)")
          .Bind(epoch)
          .BindAll(packs)
          .Run());
  return epoch;
}

absl::StatusOr<std::vector<int64_t>> PostgresTransaction::PacksThere(
    const std::vector<int64_t>& packs) {
  Query query = connection_.Prepare("SELECT pack_id FROM packs WHERE pack_id = ANY($1)");
  return ReadNumbers(query.BindAll(packs));
}

absl::StatusOr<std::vector<ChunkRow>> PostgresTransaction::LockChunks(
    const std::vector<std::string>& ids) {
  Query query = connection_.Prepare("SELECT " ROW_COLUMNS " FROM " ROW_TABLES
                                    " WHERE c.chunk_id = ANY($1) ORDER BY c.chunk_id "
                                    "FOR UPDATE OF c");
  return ReadChunkRows(query.BindAllBlobs(ids));
}

absl::StatusOr<int64_t> PostgresTransaction::RewritePacks(const std::vector<int64_t>& sources,
                                                          const std::vector<NewPack>& packs) {
  NewChunks brought;
  brought.packs = packs;
  std::vector<std::string> ids;
  ContentQueries queries;
  std::vector<std::string> blobs;
  for (const NewPack& pack : packs) {
    blobs.emplace_back(pack.blob_id.bytes());
    for (const PackedChunk& chunk : pack.chunks) ids.emplace_back(chunk.id.bytes());
  }
  if (ids.size() > kMaxRewrittenChunks)
    return absl::InvalidArgumentError("too many chunks are rewritten at once");
  queries.blobs = blobs.size();
  queries.pending.emplace(
      connection_,
      "SELECT 1 FROM pending_blobs WHERE blob_id = ANY($1) ORDER BY blob_id FOR UPDATE");
  queries.pending->BindAllBlobs(blobs);
  RETURN_IF_ERROR(CheckPending(queries));
  ASSIGN_OR_RETURN(const std::vector<int64_t> left, PacksThere(sources));
  ASSIGN_OR_RETURN(const std::vector<ChunkRow> found, LockChunks(ids));
  ChunkRows rows;
  for (const ChunkRow& row : found) rows.emplace(row.id, row);
  ChunkChanges changes;
  for (const NewPack& pack : packs) {
    ASSIGN_OR_RETURN(const int64_t pack_id, InsertPack(pack));
    changes.NotePack(pack_id);  // If nothing comes to it.
    for (const PackedChunk& chunk : pack.chunks) {
      const auto row = rows.find(chunk.id);
      if (row != rows.end() && std::find(left.begin(), left.end(), row->second.pack) != left.end())
        changes.PutInPack(chunk, pack.form, pack_id, row->second);
    }
  }
  RETURN_IF_ERROR(changes.Write(connection_, totals()));
  int64_t room = kMaxRewrittenChunks;
  for (const int64_t source : left) RETURN_IF_ERROR(RemoveCondemned(source, room));
  ASSIGN_OR_RETURN(const std::vector<int64_t> still_there, PacksThere(left));
  return std::ssize(left) - std::ssize(still_there);
}

// Chunks that a condemned pack had when it was condemned, and that nothing refers to, go; if others
// lost their last reference since then, it is condemned again. At most `room` go, which becomes
// less by those.
absl::Status PostgresTransaction::RemoveCondemned(int64_t pack_id, int64_t& room) {
  Query removed = connection_.Prepare(
      "DELETE FROM chunks WHERE chunk_no IN (SELECT chunk_no FROM chunks WHERE pack_id = $1 "
      "AND is_condemned AND refs <= 0 ORDER BY chunk_id LIMIT $2 FOR UPDATE) RETURNING chunk_no");
  ASSIGN_OR_RETURN(const std::vector<int64_t> gone, ReadNumbers(removed.Bind(pack_id).Bind(room)));
  room -= std::ssize(gone);
  RETURN_IF_ERROR(LockPacks(connection_, {pack_id}));
  RETURN_IF_ERROR(DropEmptyPacks(connection_, {pack_id}));
  Query query = connection_.Prepare(
      "SELECT EXISTS (SELECT 1 FROM packs JOIN chunks USING (pack_id) "
      "WHERE pack_id = $1 AND condemned_epoch > 0 AND refs <= 0 AND NOT is_condemned)");
  RETURN_IF_ERROR(query.Bind(pack_id).Step().status());
  return query.Int(0) == 0 ? absl::OkStatus() : CondemnPacks({pack_id}).status();
}

absl::StatusOr<int64_t> PostgresTransaction::Epoch() {
  Query query = connection_.Prepare("SELECT epoch FROM epochs");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<int64_t> PostgresTransaction::OldestEpoch() {
  // Of a few owners, one for each process that runs or crashed lately.
  Query query = connection_.Prepare("SELECT min(epoch) FROM owner_epochs");
  RETURN_IF_ERROR(query.Step().status());
  return query.IsNull(0) ? std::numeric_limits<int64_t>::max() : query.Int(0);
}

absl::Status PostgresTransaction::PublishEpoch(const BlobLease& lease, int64_t epoch) {
  return connection_
      .Prepare(
          "INSERT INTO owner_epochs VALUES ($1, $2, $3) ON CONFLICT (owner) DO UPDATE SET "
          "epoch = EXCLUDED.epoch, lease_end = EXCLUDED.lease_end")
      .BindBlob(lease.owner.bytes())
      .Bind(epoch)
      .Bind(StoredEnd(lease))
      .Passing()
      .Run();
}

}  // namespace backup::storage::postgres
