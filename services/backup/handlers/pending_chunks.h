#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "content/chunked_form.h"
#include "content/stored_form.h"
#include "services/backup/handlers/pending_blob.h"
#include "storage/background_commit.h"
#include "storage/blob_ledger.h"
#include "storage/blob_store.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::handlers {

struct UploadResources;

// Deletes a blob at once to which no row refers: on a full disk others need what it takes. Where
// that fails the sweep does it.
void DeleteBlob(storage::BlobStore& blobs, const BlobId& id);

// Whether a transaction that failed so has added nothing for certain: the catalog had no room, or
// the client has none.
bool IsNotAdded(const absl::Status& why);

// How content of a client becomes chunks that are kept in this form.
content::Chunking ChunkingOf(const UploadResources& resources, const ClientId& client,
                             storage::StorageForm form);

// Content in chunks on its way into the catalog: what is new of it is in packs, and of a long
// recipe the catalog has the beginning. Until Keep() or GiveUp() the chunks that it found in the
// catalog stay there; whatever becomes of it, the ledger is told of what no version refers to. Used
// by one thread at a time.
class PendingChunks {
 public:
  // Content that was stored, to be added by a transaction.
  struct Stored {
    storage::Version version;
    storage::NewChunks content;
    content::ChunkTotals totals;
    absl::Duration receive_time;
    std::optional<absl::Duration> decrypt_time;
    std::optional<absl::Duration> fsync_time;  // From the last byte on, if there are packs then.
  };

  // Says whether content of so many bytes and maybe more may come.
  using CheckSize = std::function<absl::Status(int64_t bytes)>;

  // An upload begins (BlobLedger::BeginUpload). `resources` must outlive this.
  explicit PendingChunks(const UploadResources& resources);

  // Stores all of `chunks`, under the policy's limits and sharing; to be called once. Errors: those
  // of the chunks, of ChunkedForm, BlobStore::Stage(), StagedBlob::Commit() and
  // Transaction::AppendRecipe(), and of `check_size`, which is asked after each pack and each part
  // of the recipe. Then packs to which no row can refer are deleted.
  absl::StatusOr<Stored> Store(
      content::Arrival arrival, const content::NextVersionId& next_id, ByteSource& chunks,
      const CheckSize& check_size = [](int64_t) { return absl::OkStatus(); });

  // Whether others should not wait for it: it has a pack, or more than one transaction.
  bool is_large() const { return !packs_.empty() || recipe_.id() != 0; }
  // Whether there are packs to which no row may refer yet.
  bool has_packs() const { return !packs_.empty(); }

  // The transaction that makes it a version's content, or drops it, is durable.
  void Keep();
  // That transaction failed, whereby this is `content`. Its packs are deleted if IsNotAdded(); else
  // the rows may exist all the same, and the catalog can tell what becomes of them.
  void GiveUp(const storage::NewChunks& content, const absl::Status& why);

 private:
  // `commit` is of the pack before the one that is filled.
  absl::Status StoreAll(content::ChunkedForm& form, storage::BackgroundCommit& commit,
                        const CheckSize& check_size);
  absl::Status StorePack(content::ChunkedForm& form, storage::BackgroundCommit& commit);
  absl::Status AppendRecipe(content::ChunkedForm& form, storage::BackgroundCommit& commit);
  void DeletePacks() const;
  // So that the next time the catalog itself is asked.
  void ForgetChunks(const storage::NewChunks& content) const;

  const UploadResources* resources_;
  std::optional<storage::BlobLedger::Upload> upload_;
  std::vector<PendingBlob> packs_;  // Of which no transaction told the catalog.
  PendingRecipe recipe_;
  std::optional<absl::Duration> fsync_time_;
};

}  // namespace backup::handlers
