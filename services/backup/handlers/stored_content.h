#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "services/backup/crypto/master_key.h"
#include "storage/blob_footer.h"
#include "storage/blob_store.h"
#include "storage/catalog.h"

namespace backup::handlers {

// The plaintext of something stored, whatever its form. Used by one thread at a time.
class StoredContent {
 public:
  // `access` is payload and footer. `key` opens what is encrypted; plain content needs none.
  StoredContent(std::unique_ptr<RandomAccess> access, storage::BlobFooter footer, std::string key)
      : access_(std::move(access)), footer_(std::move(footer)), key_(std::move(key)) {}

  const storage::BlobFooter& footer() const { return footer_; }

  // The plaintext bytes [offset, offset + size_bytes), which must lie within footer().size_bytes;
  // this must outlive it. The whole content is compared with its SHA-256 at the end: reason
  // BLOB_DAMAGED.
  std::unique_ptr<LastingSource> Read(int64_t offset, int64_t size_bytes) const;
  // The same for a caller who compares the SHA-256 himself.
  std::unique_ptr<LastingSource> ReadUnverified(int64_t offset, int64_t size_bytes) const;

 private:
  const std::unique_ptr<RandomAccess> access_;
  const storage::BlobFooter footer_;
  const std::string key_;
};

// Opens a version's content; its key, if it has one, is opened with the master key. Reasons
// BLOB_DAMAGED if the content is missing or is not this version's, STORAGE_IO.
absl::StatusOr<std::unique_ptr<StoredContent>> OpenContent(const storage::BlobStore& blobs,
                                                           const crypto::MasterKey& master_key,
                                                           const storage::StoredVersion& stored);

}  // namespace backup::handlers
