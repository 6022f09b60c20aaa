#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "base/status_macros.h"

namespace backup::storage {

struct BlobInfo {
  BlobId id;
  int64_t size_bytes = 0;
};

// A blob whose bytes are all there, and which is not stored yet. Without Commit() it goes away with
// this; it must not outlive its store. Used by one thread at a time.
class StagedBlob {
 public:
  virtual ~StagedBlob() = default;
  virtual int64_t size_bytes() const = 0;
  // OK: the blob is whole and durable (file and folder synced). Otherwise nothing is stored once
  // this is gone. Called once; waits for the medium. Reasons STORAGE_FULL, STORAGE_IO.
  virtual absl::Status Commit() = 0;
};

// Bytes by opaque id. Whole and durable, or not there: nobody can observe a part of a blob.
// Thread-safe.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Takes everything that `source` yields, to store it under `id`, which nothing was ever stored
  // under. Needs nothing of `source` any more when it returns. `expected_size`, if known, lets the
  // store preallocate; it is no limit. Errors: those of `source`; reasons STORAGE_FULL, STORAGE_IO.
  virtual absl::StatusOr<std::unique_ptr<StagedBlob>> Stage(
      const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) = 0;

  // Both steps; returns the blob's size in bytes.
  absl::StatusOr<int64_t> Put(const BlobId& id, ByteSource& source,
                              std::optional<int64_t> expected_size) {
    ASSIGN_OR_RETURN(const std::unique_ptr<StagedBlob> blob, Stage(id, source, expected_size));
    RETURN_IF_ERROR(blob->Commit());
    return blob->size_bytes();
  }

  // Opens a blob for reading. It stays readable until the reader is destroyed, even if it is
  // deleted meanwhile. Errors: NotFound; reason STORAGE_IO.
  virtual absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const = 0;

  // Deletes a blob; returns whether there was one. Needs no file descriptor and no room. Reason
  // STORAGE_IO if it could not be told.
  virtual absl::StatusOr<bool> Delete(const BlobId& id) = 0;

  // Calls `visit` for every blob in no particular order, until it returns an error, which is
  // returned. Blobs that come and go meanwhile may or may not be visited. For verification: what
  // becomes of a blob hangs on the catalog's rows alone.
  virtual absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const = 0;
};

}  // namespace backup::storage
