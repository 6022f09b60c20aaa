#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "content/stored_content.h"
#include "crypto/key_ring.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/chunk_cache.h"

// Content may go or move while it is looked for: between the moment when the catalog said where it
// is and the moment when it is read, its version may be deleted, or what it is in rewritten. So
// what looks like damage is looked at twice.
namespace backup::handlers {

// What stored content is read through; all of it outlives what is opened.
struct StoredPlaces {
  storage::Catalog& catalog;
  const storage::BlobStore& blobs;
  const crypto::KeyRing& master_key;
  const content::StoreKeys& store_keys;
  content::Dictionaries& dictionaries;
  // Where uploads of this process look for chunks, which outlives the catalog; null: there are
  // none.
  storage::ChunkCache* chunk_cache = nullptr;
};

// Those that the catalog has. What is borrowed must outlive it.
std::unique_ptr<content::Dictionaries> MakeDictionaries(storage::Catalog& catalog,
                                                        const content::StoreKeys& store_keys);

// Notes that a chunk is damaged where it is; nobody waits for that.
void MarkDamaged(const StoredPlaces& places, const storage::StoredChunk& chunk);

// Whether `status`, whose reason is BLOB_DAMAGED, says that there is no content at all.
bool SaysMissing(const absl::Status& status);

// Opens a version's content, wherever it is. A damaged chunk of it, once it was read twice, is
// marked as such in the catalog, so that the next upload of the same bytes puts it right. Reasons
// BLOB_DAMAGED if it is missing or is not this version's, STORAGE_IO.
absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenContent(
    const StoredPlaces& places, const storage::StoredVersion& stored);

// What is to be made of `found`, an error met in opening or reading this version's content: reason
// VERSION_NOT_FOUND if it says that the content is damaged, but the catalog has given the version
// or its content up meanwhile; else as it is.
absl::Status LookAgain(storage::Catalog& catalog, const storage::Version& version,
                       const absl::Status& found);

// The error of a version that its client gave up.
absl::Status Abandoned(const storage::Version& version);

// Passes on what it reads of a version's content; errors as LookAgain(). Used by one thread at a
// time.
class ConfirmedSource final : public ByteSource {
 public:
  // `catalog` must outlive this.
  ConfirmedSource(storage::Catalog& catalog, storage::Version version,
                  std::unique_ptr<ByteSource> content)
      : catalog_(catalog), version_(std::move(version)), content_(std::move(content)) {}
  absl::StatusOr<absl::string_view> Read() override;

 private:
  storage::Catalog& catalog_;
  const storage::Version version_;
  const std::unique_ptr<ByteSource> content_;
};

}  // namespace backup::handlers
