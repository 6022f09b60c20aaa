#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "storage/blob_store.h"

namespace backup::storage {

// Blobs in memory, for tests. Thread-safe.
class MemoryBlobStore final : public BlobStore {
 public:
  absl::StatusOr<std::unique_ptr<StagedBlob>> Stage(const BlobId& id, ByteSource& source,
                                                    std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override;
  absl::StatusOr<bool> Delete(const BlobId& id) override;
  absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const override;

 private:
  class Staged;

  mutable Mutex mutex_;
  std::map<BlobId, std::string> blobs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
