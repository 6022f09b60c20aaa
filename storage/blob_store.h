#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/status_macros.h"

namespace backup::storage {

// What errors of a store that is elsewhere are about.
inline constexpr absl::string_view kBlobsSubject = "blobs";

// Whether an error of a store tells nothing of any blob: it cannot be reached, or has too much to
// do (reason BACKEND_DOWN about kBlobsSubject, or OVERLOADED). It is no use to ask for the next one
// at once.
inline bool SaysStoreIsAway(const absl::Status& error) {
  const std::optional<Reason> reason = ReasonOf(error);
  return reason == Reason::kOverloaded ||
         (reason == Reason::kBackendDown && SubjectOf(error) == kBlobsSubject);
}

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
  // deleted meanwhile; or, where a store cannot promise that of larger ones, ReadAt() says NotFound
  // from then on. Errors: NotFound; reason STORAGE_IO.
  virtual absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const = 0;

  // These bytes of a blob will be read soon, by whoever opens it then: a store that is far away
  // begins to bring them. Waits for nothing and promises nothing: what fails is told by Open() and
  // ReadAt().
  virtual void NoteRead(const BlobId& /*id*/, int64_t /*offset*/, int64_t /*size_bytes*/) const {}

  // Deletes a blob; returns whether there was one. Needs no file descriptor and no room. Reason
  // STORAGE_IO if it could not be told.
  virtual absl::StatusOr<bool> Delete(const BlobId& id) = 0;

  // OK: none of the blobs that a Delete() was asked for before, of which it found one or not, comes
  // back when the machine crashes. A store whose Delete() promises that itself has nothing to do.
  // Waits for the medium. Reason STORAGE_IO, or STORAGE_FULL where that takes room.
  virtual absl::Status SyncDeletes() { return absl::OkStatus(); }

  // Calls `visit` for every blob in no particular order, until it returns an error, which is
  // returned. Blobs that come and go meanwhile may or may not be visited. For verification: what
  // becomes of a blob hangs on the catalog's rows alone.
  virtual absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const = 0;

  // Whether each call goes over a network: what need not be done now is better left to a job then,
  // and what blobs take is nothing of this machine's disk.
  virtual bool is_elsewhere() const { return false; }

  // From now on nobody waits for a store that is elsewhere: whatever is under way, or is asked for
  // later, ends at once with the reason BACKEND_DOWN. For the end of the process.
  virtual void StopWaiting() {}
};

}  // namespace backup::storage
