#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "storage/blob_store.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// Blobs as files: DIRECTORY/blobs/XX/ID, where XX are the id's first two hex digits; parts in
// DIRECTORY/tmp. Written past the page cache (O_DIRECT) where the file system allows it, because
// buffered writes of many gigabytes are throttled to a fraction of the disk's speed. Thread-safe.
class LocalBlobStore final : public BlobStore {
 public:
  // Makes the folders as needed and removes parts that an earlier process left. Only one process at
  // a time may use `directory`.
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Open(const std::string& directory,
                                                              const StorageMetrics& metrics = {});

  // Reason STORAGE_IO if there is such a blob, which stays as it is.
  absl::StatusOr<int64_t> Put(const BlobId& id, ByteSource& source,
                              std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override;
  absl::Status Delete(const BlobId& id) override;
  absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const override;

 private:
  LocalBlobStore(std::string directory, const StorageMetrics& metrics)
      : directory_(std::move(directory)), metrics_(metrics) {}
  std::string FolderOf(const BlobId& id) const;
  std::string PathOf(const BlobId& id) const;

  const std::string directory_;
  const StorageMetrics metrics_;
  std::atomic<uint64_t> parts_ = 0;  // Begun by this process.
};

}  // namespace backup::storage
