#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "storage/blob_store.h"

namespace backup::storage {

// Blobs in memory, for tests. Thread-safe.
class MemoryBlobStore final : public BlobStore {
 public:
  explicit MemoryBlobStore(const Clock& clock) : clock_(clock) {}

  absl::StatusOr<StoredBlob> Put(ByteSource& source, std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override;
  absl::Status Delete(const BlobId& id) override;
  absl::Status ForEach(const std::function<absl::Status(const BlobInfo&)>& visit) const override;

 private:
  struct Blob {
    std::string bytes;
    absl::Time create_time;
  };

  const Clock& clock_;
  mutable Mutex mutex_;
  std::map<BlobId, Blob> blobs_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace backup::storage
