#pragma once

#include <limits>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "storage/blob_store.h"

namespace backup::storage {

// Passes calls on to another store until it is time to fail. Thread-safe.
class FaultyBlobStore final : public BlobStore {
 public:
  struct Fault {
    absl::Status error;
    // How many calls pass; every later one fails.
    int after_calls = std::numeric_limits<int>::max();
    // How many blobs are committed; every later one cannot be.
    int after_commits = std::numeric_limits<int>::max();
    // A Stage() fails when its source has yielded more than that.
    int64_t after_bytes = std::numeric_limits<int64_t>::max();
  };

  FaultyBlobStore(BlobStore& store, Fault fault) : store_(store), fault_(std::move(fault)) {}

  absl::StatusOr<std::unique_ptr<StagedBlob>> Stage(const BlobId& id, ByteSource& source,
                                                    std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override;
  absl::StatusOr<bool> Delete(const BlobId& id) override;
  absl::Status SyncDeletes() override;
  absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const override;

 private:
  absl::Status CountCall() const;
  absl::Status CountCommit();

  BlobStore& store_;
  const Fault fault_;
  mutable Mutex mutex_;
  mutable int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int commits_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace backup::storage
