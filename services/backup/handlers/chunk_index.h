#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "content/chunked_form.h"
#include "storage/blob_ledger.h"
#include "storage/catalog/catalog.h"
#include "storage/chunk_cache.h"

namespace backup::handlers {

// The chunks that an upload may refer to, as the catalog knows them. Used by one thread at a time.
class CatalogChunkIndex final : public content::ChunkIndex {
 public:
  // The upload must be over only when the references are in the catalog. What is borrowed must
  // outlive this.
  CatalogChunkIndex(storage::Catalog& catalog, storage::ChunkCache& cache,
                    storage::BlobLedger::Upload& upload)
      : catalog_(catalog), cache_(cache), upload_(upload) {}

  absl::StatusOr<bool> Knows(const storage::ChunkRef& ref) override;

 private:
  absl::StatusOr<bool> Find(const storage::ChunkRef& ref, int64_t least_epoch);

  storage::Catalog& catalog_;
  storage::ChunkCache& cache_;
  storage::BlobLedger::Upload& upload_;
};

}  // namespace backup::handlers
