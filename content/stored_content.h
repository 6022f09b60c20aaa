#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"
#include "base/stage_resources.h"
#include "content/blob_footer.h"
#include "crypto/master_key.h"
#include "storage/catalog/version.h"

namespace backup::content {

// The plaintext of something stored, whatever its form. Used by one thread at a time.
class StoredContent {
 public:
  // Opens a version's content, which is payload and footer; the master key opens its key, if it has
  // one. Reasons BLOB_DAMAGED if it is not this version's, STORAGE_IO.
  static absl::StatusOr<std::unique_ptr<StoredContent>> Open(std::unique_ptr<RandomAccess> access,
                                                             const crypto::MasterKey& master_key,
                                                             const storage::Version& version);
  // `key` opens what is encrypted; plain content needs none.
  StoredContent(std::unique_ptr<RandomAccess> access, BlobFooter footer, std::string key)
      : access_(std::move(access)), footer_(std::move(footer)), key_(std::move(key)) {}

  const BlobFooter& footer() const { return footer_; }

  // The plaintext bytes [offset, offset + size_bytes), which must lie within footer().size_bytes;
  // this and `budget` must outlive it. The whole content is compared with its SHA-256 at the end:
  // reason BLOB_DAMAGED.
  std::unique_ptr<LastingSource> Read(PieceBudget& budget, int64_t offset,
                                      int64_t size_bytes) const;
  // The same for a caller who compares the SHA-256 himself.
  std::unique_ptr<LastingSource> ReadUnverified(PieceBudget& budget, int64_t offset,
                                                int64_t size_bytes) const;

 private:
  const std::unique_ptr<RandomAccess> access_;
  const BlobFooter footer_;
  const std::string key_;
};

// Whether the whole content is compared with its SHA-256.
enum class Verification { kOn, kOff };

// A range of the plaintext of something stored, with all that it is read through; a large one is
// read ahead on a thread of its own. Used by one thread at a time.
class ContentRange final : public ByteSource {
 public:
  // As StoredContent::Read(). `stages` must outlive this.
  ContentRange(std::unique_ptr<StoredContent> content, StageResources& stages, int64_t offset,
               int64_t size_bytes, Verification verification);
  absl::StatusOr<absl::string_view> Read() override;

 private:
  const std::unique_ptr<StoredContent> content_;
  std::unique_ptr<LastingSource> range_;    // Reads from content_.
  std::unique_ptr<ReadAheadSource> ahead_;  // Reads range_; not always there.
};

}  // namespace backup::content
