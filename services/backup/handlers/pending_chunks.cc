#include "services/backup/handlers/pending_chunks.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/handlers/chunk_index.h"
#include "services/backup/handlers/upload_file.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

void DeleteBlob(storage::BlobStore& blobs, const BlobId& id) {
  if (blobs.is_elsewhere()) return;  // The sweep does it; the caller need not wait for it.
  const absl::Status deleted = blobs.Delete(id).status();
  LOG_IF(WARNING, !deleted.ok()) << "a blob is left to the sweep: " << deleted;
}

bool IsNotAdded(const absl::Status& why) {
  const std::optional<Reason> reason = ReasonOf(why);
  return reason == Reason::kStorageFull || reason == Reason::kClientQuota;
}

content::Chunking ChunkingOf(const UploadResources& resources, const ClientId& client,
                             storage::StorageForm form) {
  const UploadPolicy& policy = resources.policy;
  const bool is_shared = policy.sharing == Sharing::kStore;
  return {resources.store_keys,
          resources.store_keys.IdKey(form, is_shared ? std::nullopt : std::optional(client)),
          policy.compression, policy.inline_blob_limit, storage::Transaction::kMaxRecipePart,
          // It tells of the contents of all clients.
          is_shared ? resources.dictionaries.NewestOf(form).dictionary : nullptr};
}

PendingChunks::PendingChunks(const UploadResources& resources)
    : resources_(&resources), upload_(resources.ledger.BeginUpload()), recipe_(resources.ledger) {}

absl::StatusOr<PendingChunks::Stored> PendingChunks::Store(content::Arrival arrival,
                                                           const content::NextVersionId& next_id,
                                                           ByteSource& chunks,
                                                           const CheckSize& check_size) {
  CatalogChunkIndex index(resources_->catalog, resources_->master_key, resources_->chunk_cache,
                          *upload_);
  content::Chunking chunking = ChunkingOf(*resources_, arrival.client_id, arrival.form);
  content::ChunkedForm form(std::move(arrival), std::move(chunking), resources_->master_key,
                            resources_->clock, resources_->stages, next_id, index, chunks);
  storage::BackgroundCommit commit;
  if (const absl::Status stored = StoreAll(form, commit, check_size); !stored.ok()) {
    // What is not durable yet must not become so after it was deleted.
    commit.Finish().IgnoreError();
    DeletePacks();
    return stored;
  }
  Stored stored{form.version(),
                form.TakeRest(),
                form.totals(),
                form.content().receive_time(),
                form.content().decrypt_time(),
                fsync_time_};
  stored.content.recipe_id = recipe_.id();
  return stored;
}

absl::Status PendingChunks::StoreAll(content::ChunkedForm& form, storage::BackgroundCommit& commit,
                                     const CheckSize& check_size) {
  using Next = content::ChunkedForm::Next;
  while (true) {
    ASSIGN_OR_RETURN(const Next next, form.Advance());
    if (next == Next::kEnd) break;
    RETURN_IF_ERROR(next == Next::kPack ? StorePack(form, commit) : AppendRecipe(form, commit));
    const content::ChunkTotals& totals = form.totals();
    RETURN_IF_ERROR(check_size(totals.known + totals.raw + totals.compressed));
  }
  RETURN_IF_ERROR(commit.Finish());
  if (has_packs()) fsync_time_ = absl::FromChrono(std::chrono::steady_clock::now() - form.ended());
  return absl::OkStatus();
}

absl::Status PendingChunks::StorePack(content::ChunkedForm& form,
                                      storage::BackgroundCommit& commit) {
  ASSIGN_OR_RETURN(PendingBlob blob, PendingBlob::Take(resources_->ledger));
  const std::unique_ptr<ByteSource> pack = form.OpenPack(blob.id());
  ASSIGN_OR_RETURN(std::unique_ptr<storage::StagedBlob> staged,
                   resources_->blobs.Stage(blob.id(), *pack, form.LargestPackSize()));
  form.PackIsStaged(staged->size_bytes());
  packs_.push_back(std::move(blob));
  RETURN_IF_ERROR(commit.Finish());
  // Behind the last one nothing comes that could go on meanwhile.
  if (form.has_ended()) return staged->Commit();
  commit.Begin(std::move(staged));
  return absl::OkStatus();
}

absl::Status PendingChunks::AppendRecipe(content::ChunkedForm& form,
                                         storage::BackgroundCommit& commit) {
  RETURN_IF_ERROR(commit.Finish());
  storage::NewChunks part = form.TakeRecipePart();
  part.recipe_id = recipe_.id();
  int64_t recipe_id = 0;
  const absl::Status appended = upload_->Write(form.rest_of_recipe(), [&]() -> absl::Status {
    ASSIGN_OR_RETURN(recipe_id, resources_->catalog.Run([&](storage::Transaction& transaction) {
      return transaction.AppendRecipe(part, resources_->ledger.NewLease());
    }));
    return absl::OkStatus();
  });
  if (!appended.ok()) {
    ForgetChunks(part);
    packs_.clear();  // Nobody knows whether they are referenced.
    return appended;
  }
  recipe_.set_id(recipe_id);
  for (PendingBlob& blob : packs_) blob.Keep();
  packs_.clear();
  return absl::OkStatus();
}

void PendingChunks::Keep() {
  upload_.reset();
  for (PendingBlob& blob : packs_) blob.Keep();
  recipe_.Keep();
}

void PendingChunks::GiveUp(const storage::NewChunks& content, const absl::Status& why) {
  upload_.reset();
  if (ReasonOf(why) == Reason::kBackendDown) ForgetChunks(content);
  if (IsNotAdded(why)) DeletePacks();
}

void PendingChunks::DeletePacks() const {
  for (const PendingBlob& blob : packs_) DeleteBlob(resources_->blobs, blob.id());
}

void PendingChunks::ForgetChunks(const storage::NewChunks& content) const {
  for (const storage::ChunkRef& ref : content.recipe) resources_->chunk_cache.Forget(ref.id);
}

}  // namespace backup::handlers
