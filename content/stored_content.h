#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"
#include "base/secret_bytes.h"
#include "base/stage_resources.h"
#include "content/blob_footer.h"
#include "content/chunk_reader.h"
#include "content/chunk_source.h"
#include "crypto/key_ring.h"
#include "storage/catalog/version.h"

namespace backup::content {

// Whether the whole content is compared with its SHA-256, and each chunk with its id: digests that
// a caller can do without who compares the whole himself. What is sealed is authenticated anyway.
enum class Verification { kOn, kOff };

// The plaintext of something stored, however it is kept. Used by one thread at a time.
class StoredContent {
 public:
  // Opens a version's content, which is payload and footer; the master key opens its key, if it has
  // one. Reasons BLOB_DAMAGED if it is not this version's, STORAGE_IO.
  static absl::StatusOr<std::unique_ptr<StoredContent>> Open(std::unique_ptr<RandomAccess> access,
                                                             const crypto::KeyRing& master_key,
                                                             const storage::Version& version);
  virtual ~StoredContent() = default;

  // Whose content it is.
  const storage::Version& version() const { return version_; }

  // The plaintext bytes [offset, offset + size_bytes), which must lie within version().size_bytes;
  // this and `budget` must outlive it. Reasons BLOB_DAMAGED, STORAGE_IO, also while it is read;
  // with `verification` on only at its end if the whole is not what its SHA-256 says.
  virtual absl::StatusOr<std::unique_ptr<LastingSource>> Read(PieceBudget& budget, int64_t offset,
                                                              int64_t size_bytes,
                                                              Verification verification) const = 0;
  absl::StatusOr<std::unique_ptr<LastingSource>> ReadWhole(PieceBudget& budget) const {
    return Read(budget, 0, version().size_bytes, Verification::kOn);
  }

 protected:
  explicit StoredContent(storage::Version version) : version_(std::move(version)) {}

  // Whether the range is to be compared with the content's SHA-256.
  bool IsToBeVerified(int64_t size_bytes, Verification verification) const {
    return verification == Verification::kOn && size_bytes == version_.size_bytes;
  }

 private:
  const storage::Version version_;
};

// Content that is payload and footer, in a blob of its own or in the catalog: as older programs
// kept everything and as the clients' own ciphertext is kept. Used by one thread at a time.
class WholeContent final : public StoredContent {
 public:
  // `key` opens what is encrypted; plain content needs none.
  WholeContent(std::unique_ptr<RandomAccess> access, BlobFooter footer, SecretBytes key)
      : StoredContent(VersionOf(footer)),
        access_(std::move(access)),
        footer_(std::move(footer)),
        key_(std::move(key)) {}

  absl::StatusOr<std::unique_ptr<LastingSource>> Read(PieceBudget& budget, int64_t offset,
                                                      int64_t size_bytes,
                                                      Verification verification) const override;

 private:
  std::unique_ptr<LastingSource> ReadUnverified(PieceBudget& budget, int64_t offset,
                                                int64_t size_bytes) const;

  const std::unique_ptr<RandomAccess> access_;
  const BlobFooter footer_;
  const SecretBytes key_;
};

// Content in chunks. Used by one thread at a time.
class ChunkedContent final : public StoredContent {
 public:
  // One of `id_keys` made the ids of its chunks; none: they are not compared.
  ChunkedContent(storage::Version version, std::unique_ptr<ChunkStore> store, ChunkKeys keys,
                 std::vector<ChunkIdKey> id_keys)
      : StoredContent(std::move(version)),
        store_(std::move(store)),
        keys_(keys),
        id_keys_(std::move(id_keys)) {}

  absl::StatusOr<std::unique_ptr<LastingSource>> Read(PieceBudget& budget, int64_t offset,
                                                      int64_t size_bytes,
                                                      Verification verification) const override;

 private:
  const std::unique_ptr<ChunkStore> store_;
  const ChunkKeys keys_;
  const std::vector<ChunkIdKey> id_keys_;
};

// A range of the plaintext of something stored, with all that it is read through; a large one is
// read ahead on a thread of its own. Used by one thread at a time.
class ContentRange final : public ByteSource {
 public:
  // As StoredContent::Read(). `stages` must outlive this.
  static absl::StatusOr<std::unique_ptr<ContentRange>> Open(std::unique_ptr<StoredContent> content,
                                                            StageResources& stages, int64_t offset,
                                                            int64_t size_bytes,
                                                            Verification verification);
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ContentRange() = default;

  std::unique_ptr<StoredContent> content_;
  std::unique_ptr<LastingSource> range_;    // Reads from content_.
  std::unique_ptr<ReadAheadSource> ahead_;  // Reads range_; not always there.
};

}  // namespace backup::content
