#include "storage/blob_ledger.h"

#include <sys/random.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

// Blobs that one transaction makes pending, and how few left are a reason for the next.
constexpr size_t kStock = 32;
constexpr size_t kLowStock = 16;

// Nobody else makes the same one, on whatever machine.
BlobId NewBlobId() {
  char bytes[BlobId::kSize];
  CHECK_EQ(::getrandom(bytes, sizeof(bytes), 0), static_cast<ssize_t>(sizeof(bytes)));
  return *BlobId::FromBytes(absl::string_view(bytes, sizeof(bytes)));
}

absl::StatusOr<std::vector<BlobId>> AddNewBlobs(Transaction& transaction, const BlobLease& lease) {
  std::vector<BlobId> ids;
  while (ids.size() < kStock) ids.push_back(NewBlobId());
  RETURN_IF_ERROR(transaction.AddPendingBlobs(ids, lease));
  return ids;
}

}  // namespace

BlobLedger::BlobLedger(Catalog& catalog, const Clock& clock, const OwnerId& self)
    : catalog_(catalog),
      clock_(clock),
      self_(self),
      stock_(
          catalog,
          [&clock, self](Transaction& transaction) {
            return AddNewBlobs(transaction, {self, clock.Now() + kLease});
          },
          kLowStock) {}

absl::StatusOr<BlobId> BlobLedger::Take() { return stock_.Take(); }

void BlobLedger::Release(const BlobId& id) {
  catalog_.Submit([id](Transaction& transaction) { return transaction.DropPendingBlob(id); },
                  [id, unwritten = unwritten_](const absl::Status& result) {
                    if (result.ok()) return;
                    MutexLock lock(unwritten->mutex);
                    unwritten->released.insert(id);
                  });
}

void BlobLedger::ReleaseRecipe(int64_t recipe_id) {
  catalog_.Submit(
      [recipe_id](Transaction& transaction) { return transaction.DropPendingRecipe(recipe_id); },
      [recipe_id, unwritten = unwritten_](const absl::Status& result) {
        if (result.ok()) return;
        MutexLock lock(unwritten->mutex);
        unwritten->released_recipes.insert(recipe_id);
      });
}

BlobLedger::Upload::~Upload() {
  if (state_ != nullptr) ledger_->EndUpload(state_);
}

absl::StatusOr<bool> BlobLedger::Upload::Find(const ChunkRef& ref, const FindChunk& find) {
  MutexLock lock(state_->mutex);
  const absl::StatusOr<bool> is_there = find(ledger_->HoldEpoch(state_));
  if (is_there.ok() && *is_there) state_->found.push_back(ref);
  ledger_->LetGo(state_);
  return is_there;
}

absl::Status BlobLedger::Upload::Write(std::vector<ChunkRef> rest,
                                       const std::function<absl::Status()>& write) {
  MutexLock lock(state_->mutex);
  ledger_->HoldEpoch(state_);
  const absl::Status written = write();
  if (written.ok()) state_->found = std::move(rest);
  ledger_->LetGo(state_);
  return written;
}

BlobLedger::Upload BlobLedger::BeginUpload() { return {*this, std::make_shared<UploadState>()}; }

int64_t BlobLedger::HoldEpoch(const std::shared_ptr<UploadState>& upload) {
  MutexLock lock(mutex_);
  return holds_.try_emplace(upload, Hold{known_epoch_, std::chrono::steady_clock::now()})
      .first->second.epoch;
}

void BlobLedger::LetGo(const std::shared_ptr<UploadState>& upload) {
  if (!upload->found.empty()) return;
  upload->has_waited = false;
  MutexLock lock(mutex_);
  holds_.erase(upload);
}

void BlobLedger::EndUpload(const std::shared_ptr<UploadState>& upload) {
  MutexLock lock(upload->mutex);
  upload->found.clear();
  LetGo(upload);
  if (upload->recipe_id != 0) ReleaseRecipe(upload->recipe_id);
}

absl::Duration BlobLedger::HoldTime() const {
  MutexLock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  absl::Duration longest;
  for (const auto& [upload, hold] : holds_)
    longest = std::max(longest, absl::FromChrono(now - hold.begin));
  return longest;
}

absl::Status BlobLedger::SecureFound() {
  std::vector<std::shared_ptr<UploadState>> uploads;
  {
    MutexLock lock(mutex_);
    for (const auto& [upload, hold] : holds_) uploads.push_back(upload);
  }
  for (const std::shared_ptr<UploadState>& upload : uploads) {
    MutexLock lock(upload->mutex);
    // One that is over by now has found nothing.
    if (upload->found.empty() || !std::exchange(upload->has_waited, true)) continue;
    const absl::Status referred = Refer(upload);
    LOG_IF(WARNING, !referred.ok())
        << "what an upload found keeps room from being reclaimed: " << referred;
    LetGo(upload);
  }
  return PublishNow();
}

absl::Status BlobLedger::Refer(const std::shared_ptr<UploadState>& upload) {
  while (!upload->found.empty()) {
    const size_t size = std::min(upload->found.size(), Transaction::kMaxRecipePart);
    const auto end = upload->found.begin() + static_cast<ptrdiff_t>(size);
    NewChunks part;
    part.recipe.assign(upload->found.begin(), end);
    part.recipe_id = upload->recipe_id;
    const absl::StatusOr<int64_t> recipe_id = catalog_.Run(
        [&](Transaction& transaction) { return transaction.AppendRecipe(part, NewLease()); });
    // Nothing is to be waited for if a chunk of these is gone, or the lease was lost, or on a full
    // disk, where above all room must come back: the upload's own transaction decides.
    const std::optional<Reason> reason = ReasonOf(recipe_id.status());
    if (reason != Reason::kBackendDown && reason != Reason::kStorageFull) {
      RETURN_IF_ERROR(recipe_id.status());
      upload->recipe_id = *recipe_id;
    }
    upload->found.erase(upload->found.begin(), end);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> BlobLedger::EpochToPublish() {
  // First: what is looked at while the oldest is looked for is held by this epoch or a later one.
  ASSIGN_OR_RETURN(const int64_t epoch,
                   catalog_.Read([](Snapshot& snapshot) { return snapshot.Epoch(); }));
  MutexLock lock(mutex_);
  known_epoch_ = std::max(known_epoch_, epoch);
  int64_t oldest = epoch;
  for (const auto& [upload, hold] : holds_) oldest = std::min(oldest, hold.epoch);
  return oldest;
}

absl::Status BlobLedger::PublishNow() {
  ASSIGN_OR_RETURN(const int64_t epoch, EpochToPublish());
  return catalog_.Run(
      [&](Transaction& transaction) { return transaction.PublishEpoch(NewLease(), epoch); });
}

absl::Status BlobLedger::Renew() {
  std::set<BlobId> released;
  std::set<int64_t> released_recipes;
  {
    MutexLock lock(unwritten_->mutex);
    released = unwritten_->released;
    released_recipes = unwritten_->released_recipes;
  }
  ASSIGN_OR_RETURN(const int64_t epoch, EpochToPublish());
  RETURN_IF_ERROR(catalog_.Run([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.RenewLeases(NewLease()));
    RETURN_IF_ERROR(transaction.PublishEpoch(NewLease(), epoch));
    for (const BlobId& id : released) RETURN_IF_ERROR(transaction.DropPendingBlob(id));
    for (const int64_t id : released_recipes) RETURN_IF_ERROR(transaction.DropPendingRecipe(id));
    return absl::OkStatus();
  }));
  MutexLock lock(unwritten_->mutex);
  for (const BlobId& id : released) unwritten_->released.erase(id);
  for (const int64_t id : released_recipes) unwritten_->released_recipes.erase(id);
  return absl::OkStatus();
}

}  // namespace backup::storage
