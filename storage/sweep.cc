#include "storage/sweep.h"

#include "base/status_macros.h"

namespace backup::storage {

absl::StatusOr<int64_t> Sweep(Catalog& catalog, BlobStore& blobs, absl::Time created_before) {
  int64_t removed = 0;
  RETURN_IF_ERROR(blobs.ForEach([&](const BlobInfo& blob) -> absl::Status {
    if (blob.create_time >= created_before) return absl::OkStatus();
    ASSIGN_OR_RETURN(const bool referenced, catalog.HasBlob(blob.id));
    if (referenced) return absl::OkStatus();
    RETURN_IF_ERROR(blobs.Delete(blob.id));
    ++removed;
    return absl::OkStatus();
  }));
  return removed;
}

}  // namespace backup::storage
