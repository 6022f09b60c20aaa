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
#include "backup/v1/ingest.pb.h"
#include "base/byte_stream.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/secret_bytes.h"
#include "base/stage_resources.h"
#include "content/chunked_form.h"
#include "content/compression.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "content/stored_form.h"
#include "crypto/key_ring.h"
#include "services/backup/handlers/pending_blob.h"
#include "services/backup/handlers/pending_chunks.h"
#include "services/backup/handlers/upload_header.h"
#include "storage/blob_ledger.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/stock.h"
#include "storage/chunk_cache.h"

namespace backup::handlers {

// Where the time of uploads goes; each is observed once for each upload that was stored.
struct UploadPhases {
  Histogram receive;  // Waiting for the caller.
  Histogram decrypt;  // With the checksum of what was sent; not if it came as plaintext.
  Histogram fsync;    // From the last byte on until a blob is durable, if there is any.
  Histogram commit;   // Of the row, and of a small file's content.
};

// Plaintext bytes of uploads that were stored, by what became of them, and what the new ones take.
struct UploadedBytes {
  Counter known;
  Counter raw;
  Counter compressed;
  Counter stored;
};

// Among whose versions the same content is kept once.
enum class Sharing { kStore, kClient };

struct UploadPolicy {
  // How new content is kept. Under kClientCiphertext what came unencrypted is sealed.
  storage::StorageForm form = storage::StorageForm::kPlain;
  // Content of at most so many stored bytes (footer not counted) lives in the catalog.
  int64_t inline_blob_limit = 64 << 10;
  content::CompressionPolicy compression = {};
  Sharing sharing = Sharing::kStore;
  // For how long nobody may remove what comes; 0: as long as they like.
  absl::Duration min_retention = absl::ZeroDuration();
  // Answer wrong checksums on purpose; the version keeps the true one.
  bool corrupt_checksums = false;
  UploadPhases phases = {};
  UploadedBytes bytes = {};
};

// What uploads work on; all of it outlives them.
struct UploadResources {
  storage::Catalog& catalog;
  storage::BlobStore& blobs;
  storage::BlobLedger& ledger;
  storage::Stock<int64_t>& version_ids;
  const crypto::KeyRing& master_key;
  const content::StoreKeys& store_keys;
  const content::Dictionaries& dictionaries;
  storage::ChunkCache& chunk_cache;
  const Clock& clock;
  StageResources& stages;
  const UploadPolicy& policy;
  // Called when the catalog has dropped a blob; must return at once.
  std::function<void()> blob_was_dropped = [] {};
};

// Stores one file as a new, unconfirmed version: small content with the row, in its transaction;
// what is new of large content before it, in packs, or as a blob if it is the client's ciphertext.
// `chunks` is everything that follows the header. Memory does not grow with the file. Used by one
// thread at a time.
class UploadFile {
 public:
  // Reads all of `chunks` and stores what is large. Errors: those of the chunks, of ChunkedForm and
  // StoredForm; reasons INVALID_FIELD, SIZE_LIMIT, CLIENT_NOT_FOUND, KEY_NOT_SET, CLIENT_QUOTA
  // (then `chunks` is not read, or not to its end if only that tells the size), STORAGE_FULL,
  // STORAGE_IO, BACKEND_DOWN. What was observed of the client is noted all the same.
  static absl::StatusOr<UploadFile> Prepare(const UploadResources& resources,
                                            const v1::UploadFileHeader& header, ByteSource& chunks);
  // The same of content for which IsQuick(), with a reserved version id, by a thread that must not
  // wait; nothing must be left to wait for in `chunks`.
  static absl::StatusOr<UploadFile> PrepareQuick(const UploadResources& resources,
                                                 const v1::UploadFileHeader& header,
                                                 ByteSource& chunks, int64_t version_id);
  // Whether to prepare such an upload, once all of it has come, takes no longer than to add it.
  static bool IsQuick(const v1::UploadFileHeader& header, const UploadPolicy& policy);

  absl::Status Apply(storage::Transaction& transaction);
  // To be called once, with what became of the transaction. Trivial if IsQuick(); else it may
  // delete the blob.
  absl::StatusOr<v1::UploadFileResponse> Respond(const absl::Status& committed);

 private:
  UploadFile(const UploadResources& resources, UploadRequest request)
      : resources_(&resources), request_(std::move(request)) {}

  static absl::StatusOr<UploadFile> PrepareWith(const UploadResources& resources,
                                                const v1::UploadFileHeader& header,
                                                ByteSource& chunks,
                                                const content::NextVersionId& next_id);
  absl::Status FindWhatIsKnown();
  // The quotas, and what is used of them at least once the verdicts that are on their way have
  // come.
  absl::StatusOr<std::vector<storage::QuotaUse>> FindRoom(storage::Snapshot& snapshot) const;
  // Whether there was room for so much at the header. Reason CLIENT_QUOTA.
  absl::Status CheckRoomFor(int64_t size_bytes) const;
  // Whether the version may come, and which soft limits that passes. Reason CLIENT_QUOTA.
  absl::Status CheckQuotas(storage::Transaction& transaction);
  absl::Status Store(ByteSource& chunks, const content::NextVersionId& next_id);
  // In a client's form.
  absl::Status StoreWhole(content::Arrival arrival, ByteSource& chunks,
                          const content::NextVersionId& next_id);
  // In any other.
  absl::Status StoreChunks(content::Arrival arrival, ByteSource& chunks,
                           const content::NextVersionId& next_id);
  // What another call added, with the damage that a transaction does not look for in recipes.
  void LookAtAddedAgain();
  void GiveUp(const absl::Status& why);
  // Has what was stored outside of the catalog removed soon.
  void DropContent();
  void ObserveBytes() const;
  void ObservePhases() const;
  void NoteObserved() const;
  void LogClientKey() const;
  void LogPassedLimits() const;

  const UploadResources* resources_;
  UploadRequest request_;
  storage::Client client_;
  std::vector<storage::QuotaUse> room_;  // At the header.
  SecretBytes session_key_;              // If it comes encrypted.
  storage::Version version_;             // To be added.
  storage::NewContent content_;          // Of that.
  std::optional<PendingBlob> blob_;      // In which that is,
  std::optional<PendingChunks> chunks_;  // or what it is made of.
  content::ChunkTotals totals_;
  absl::Duration receive_time_;
  std::optional<absl::Duration> decrypt_time_;
  std::optional<absl::Duration> fsync_time_;
  std::chrono::steady_clock::time_point prepared_;
  bool is_known_ = false;   // The version was there before: nothing is to be added.
  storage::Version added_;  // What the upload made, now or before.
  std::vector<storage::PassedLimit> passed_limits_;  // By what it made now.
};

// All three steps; waits for the transaction.
absl::StatusOr<v1::UploadFileResponse> StoreUpload(const UploadResources& resources,
                                                   const v1::UploadFileHeader& header,
                                                   ByteSource& chunks);

}  // namespace backup::handlers
