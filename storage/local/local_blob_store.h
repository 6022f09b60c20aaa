#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/bulk_throttle.h"
#include "base/file_system.h"
#include "base/mutex.h"
#include "storage/blob_store.h"
#include "storage/space_reserve.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// Blobs as files: DIRECTORY/blobs/XX/ID, where XX are the id's first two hex digits; parts in
// DIRECTORY/tmp. Written past the page cache (O_DIRECT) where the file system allows it, because
// buffered writes of many gigabytes are throttled to a fraction of the disk's speed; several pieces
// at a time, as most disks want it. Thread-safe.
class LocalBlobStore final : public BlobStore {
 public:
  // Makes the folders as needed and removes parts that an earlier process left. Only one process at
  // a time may use `directory`. While the `reserve` forbids growth nothing is stored; null: there
  // is none, else it must outlive this. Large reads and writes wait for `throttle`, if there is
  // one. `file_system` must outlive this.
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Open(
      const std::string& directory, const StorageMetrics& metrics = {},
      const SpaceReserve* reserve = nullptr, std::shared_ptr<BulkThrottle> throttle = nullptr,
      FileSystem& file_system = FileSystem::Real());

  // To read what may be another process's: makes nothing and removes nothing. A folder that is not
  // there has no blobs.
  static std::unique_ptr<LocalBlobStore> OpenToRead(const std::string& directory,
                                                    FileSystem& file_system = FileSystem::Real());

  // Commit() ends with the reason STORAGE_IO if there is such a blob, which stays as it is.
  absl::StatusOr<std::unique_ptr<StagedBlob>> Stage(const BlobId& id, ByteSource& source,
                                                    std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override;
  absl::StatusOr<bool> Delete(const BlobId& id) override;
  absl::Status SyncDeletes() override ABSL_LOCKS_EXCLUDED(sync_mutex_);
  // SyncDeletes() ends with Cancelled before the next folder.
  void StopWaiting() override { is_stopped_ = true; }
  absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const override;

 private:
  // Folders of blobs, one for each first byte of an id.
  static constexpr size_t kFolders = 256;

  LocalBlobStore(std::string directory, const StorageMetrics& metrics, const SpaceReserve* reserve,
                 std::shared_ptr<BulkThrottle> throttle, FileSystem& file_system,
                 bool may_be_missing = false)
      : file_system_(file_system),
        directory_(std::move(directory)),
        may_be_missing_(may_be_missing),
        metrics_(metrics),
        throttle_(std::move(throttle)),
        reserve_(reserve) {}
  std::string FolderOf(const BlobId& id) const;
  std::string PathOf(const BlobId& id) const;

  FileSystem& file_system_;
  const std::string directory_;
  const bool may_be_missing_;  // A folder of it.
  const StorageMetrics metrics_;
  const std::shared_ptr<BulkThrottle> throttle_;
  const SpaceReserve* const reserve_;
  std::atomic<uint64_t> parts_ = 0;  // Begun by this process.
  std::atomic<bool> is_stopped_ = false;
  Mutex sync_mutex_;  // Held by whoever syncs what was deleted.
  // Whether something was deleted that is not synced, of each folder. Of an earlier process, too:
  // then it is not there, and whoever needs that to last asks for it to be deleted.
  std::array<std::atomic<bool>, kFolders> has_deletes_ = {};
};

}  // namespace backup::storage
