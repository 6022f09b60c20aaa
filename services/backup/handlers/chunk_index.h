#pragma once

#include "absl/status/statusor.h"
#include "content/chunked_form.h"
#include "storage/blob_ledger.h"
#include "storage/catalog/catalog.h"
#include "storage/chunk_cache.h"

namespace backup::handlers {

// The chunks that an upload may refer to, as the catalog knows them since it began. Used by one
// thread at a time.
class CatalogChunkIndex final : public content::ChunkIndex {
 public:
  // The upload must be over only when the references are in the catalog. What is borrowed must
  // outlive this.
  CatalogChunkIndex(storage::Catalog& catalog, storage::ChunkCache& cache,
                    const storage::BlobLedger::Upload& upload)
      : catalog_(catalog), cache_(cache), epoch_(upload.epoch()) {}

  absl::StatusOr<bool> Knows(const storage::ChunkRef& ref) override;

 private:
  storage::Catalog& catalog_;
  storage::ChunkCache& cache_;
  const int64_t epoch_;
};

}  // namespace backup::handlers
