#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "content/chunked_form.h"
#include "crypto/key_ring.h"
#include "storage/blob_ledger.h"
#include "storage/catalog/catalog.h"
#include "storage/chunk_cache.h"

namespace backup::handlers {

// The chunks that an upload may refer to, as the catalog knows them. Used by one thread at a time.
class CatalogChunkIndex final : public content::ChunkIndex {
 public:
  // The upload must be over only when the references are in the catalog. What is borrowed must
  // outlive this.
  CatalogChunkIndex(storage::Catalog& catalog, const crypto::KeyRing& master_key,
                    storage::ChunkCache& cache, storage::BlobLedger::Upload& upload)
      : catalog_(catalog), master_key_(master_key), cache_(cache), upload_(upload) {}

  // Not one whose pack a generation of keys has sealed that is missing: that is noted to be
  // damaged, so that the bytes which come now take its place.
  absl::StatusOr<bool> Knows(const storage::ChunkRef& ref) override;

 private:
  absl::StatusOr<bool> Find(const storage::ChunkRef& ref, int64_t least_epoch);

  // Whether the key that sealed a chunk's pack is at hand.
  bool HasKeyOf(const storage::StoredChunk& chunk) const;

  storage::Catalog& catalog_;
  const crypto::KeyRing& master_key_;
  storage::ChunkCache& cache_;
  storage::BlobLedger::Upload& upload_;
};

}  // namespace backup::handlers
