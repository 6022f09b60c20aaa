#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "storage/blob_store.h"
#include "storage/s3/credentials.h"
#include "storage/s3/location.h"
#include "storage/s3/memory_bound.h"
#include "storage/s3/noted_reads.h"
#include "storage/s3/ownership.h"
#include "storage/s3/probe.h"
#include "storage/s3/s3_client.h"

namespace backup::storage::s3 {

// Blobs as objects of an S3 store: PREFIX/blobs/ID each. Any number of processes may use one at a
// time, of one installation. Thread-safe.
//
// Errors of all methods: reason BACKEND_DOWN if the store cannot be reached, refuses us or has no
// such bucket; OVERLOADED if it, or the memory for uploads, is exhausted; STORAGE_FULL; STORAGE_IO
// if it answers what makes no sense. Each tells what an operator is to do, if that is known.
class S3BlobStore final : public BlobStore {
 public:
  // Of parts on their way and of what is read ahead, of all blobs together. An upload takes 1 MiB
  // at least, and up to 80 MiB while there is that much.
  static constexpr int64_t kMaxUploadBytes = int64_t{512} << 20;
  static constexpr int64_t kMaxReadAheadBytes = int64_t{256} << 20;

  struct Options {
    S3Client::Options client;
    bool only_reads = false;  // Nothing is tried that takes more than the right to list and get.
    int64_t max_upload_bytes = kMaxUploadBytes;
    int64_t max_read_ahead_bytes = kMaxReadAheadBytes;
  };

  // Tries what blobs need (ProbeStore(), or ProbeReading()). `clock` must outlive the store and its
  // readers.
  static absl::StatusOr<std::unique_ptr<S3BlobStore>> Open(
      Options options, std::unique_ptr<CredentialsSource> credentials, const Clock& clock);

  // Whose the blobs are: ownership.h.
  absl::StatusOr<std::vector<Marker>> FindMarkers() const { return s3::FindMarkers(*client_); }
  // Makes them this one's: FailedPrecondition if another installation does so, too. `is_new`: it
  // had no marker before, and has none again then.
  absl::Status Claim(const Marker& marker, bool is_new);
  // From now on nothing is stored or deleted, and no blob is missing, unless the blobs are this
  // installation's still (Ownership). Before anybody uses them.
  void Watch(const std::string& installation, Ownership::IsOurs is_ours);
  // Whether they are another's by now (Ownership::IsLost()); only while they are watched.
  bool IsTakenOver() const { return ownership_->IsLost(); }
  // Whether there are any, whoever's.
  absl::StatusOr<bool> HasBlobs() const;

  // Reason SIZE_LIMIT for more than kMaxObjectSize (part_buffer.h), at once if so much is expected.
  // Commit() ends with the reason STORAGE_IO if there is such a blob, which stays as it is.
  absl::StatusOr<std::unique_ptr<StagedBlob>> Stage(const BlobId& id, ByteSource& source,
                                                    std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override;
  // Also of what was begun of a blob that is not there.
  absl::StatusOr<bool> Delete(const BlobId& id) override;
  absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const override;
  void NoteRead(const BlobId& id, int64_t offset, int64_t size_bytes) const override;
  bool is_elsewhere() const override { return true; }
  void StopWaiting() override { client_->Stop(); }

  // Calls `visit` for every blob whose parts are on their way, or were when a process ended, as
  // List() does. Delete() frees what these take.
  absl::Status ListUnfinished(const std::function<absl::Status(const BlobId&)>& visit) const;

  const MemoryBound& upload_memory() const { return upload_memory_; }
  const MemoryBound& read_memory() const { return *read_memory_; }

 private:
  S3BlobStore(std::shared_ptr<S3Client> client, const Options& options, Capabilities capabilities);
  // Before something is stored or deleted.
  absl::Status CheckIsOurs(std::chrono::steady_clock::duration interval) const;
  std::string KeyOf(const BlobId& id) const;
  std::optional<BlobId> IdOf(const std::string& key) const;

  const std::shared_ptr<S3Client> client_;  // Readers may outlive the store.
  const Capabilities capabilities_;
  const std::string folder_;  // What the keys of blobs begin with.
  MemoryBound upload_memory_;
  const std::shared_ptr<MemoryBound> read_memory_;  // As client_.
  const std::unique_ptr<NotedReads> noted_;
  std::shared_ptr<Ownership> ownership_;  // Null until it is watched; staged blobs have it, too.
};

}  // namespace backup::storage::s3
