#include "storage/sweep.h"

#include "base/status_macros.h"

namespace backup::storage {

absl::StatusOr<SweepResult> Sweep(Catalog& catalog, BlobStore& blobs, absl::Time created_before) {
  SweepResult result;
  RETURN_IF_ERROR(blobs.ForEach([&](const BlobInfo& blob) -> absl::Status {
    bool keep = blob.create_time >= created_before;
    if (!keep) {
      ASSIGN_OR_RETURN(keep, catalog.HasBlob(blob.id));
    }
    if (keep) {
      result.kept_bytes += blob.size_bytes;
      return absl::OkStatus();
    }
    ++result.removed;
    return blobs.Delete(blob.id);
  }));
  return result;
}

}  // namespace backup::storage
