#include "services/backup/handlers/chunk_index.h"

#include <optional>
#include <vector>

#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"

namespace backup::handlers {

using storage::ChunkRef;
using storage::StoredChunk;

absl::StatusOr<bool> CatalogChunkIndex::Knows(const ChunkRef& ref) {
  return upload_.Find(ref, [&](int64_t epoch) { return Find(ref, epoch); });
}

absl::StatusOr<bool> CatalogChunkIndex::Find(const ChunkRef& ref, int64_t least_epoch) {
  if (cache_.Has(ref, least_epoch)) return true;
  std::optional<StoredChunk> found;
  std::vector<StoredChunk> neighbours;
  int64_t epoch = 0;
  RETURN_IF_ERROR(catalog_.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(found, snapshot.FindChunk(ref.id));
    if (!found) return absl::OkStatus();
    ASSIGN_OR_RETURN(epoch, snapshot.Epoch());
    ASSIGN_OR_RETURN(neighbours,
                     snapshot.ListPackChunks(found->pack, /*after=*/-1,
                                             static_cast<int>(content::kMaxPackChunks)));
    return absl::OkStatus();
  }));
  if (!found || found->ref.size_bytes != ref.size_bytes) return false;
  if (!HasKeyOf(*found)) {
    RETURN_IF_ERROR(catalog_.Run([&](storage::Transaction& transaction) {
      return transaction.MarkDamaged(found->number, found->pack);
    }));
    return false;
  }
  std::vector<ChunkRef> refs;
  for (const StoredChunk& chunk : neighbours)
    if (!chunk.is_damaged && !chunk.is_condemned) refs.push_back(chunk.ref);
  cache_.Add(found->pack, epoch, refs);
  return true;
}

bool CatalogChunkIndex::HasKeyOf(const StoredChunk& chunk) const {
  return chunk.wrapped_key.empty() ||
         content::HasKeyOfPack(chunk.wrapped_key, chunk.pack_blob, master_key_);
}

}  // namespace backup::handlers
