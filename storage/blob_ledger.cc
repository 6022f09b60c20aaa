#include "storage/blob_ledger.h"

#include <sys/random.h>

#include <algorithm>
#include <vector>

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
  if (in_flight_ == nullptr) return;
  MutexLock lock(in_flight_->mutex);
  in_flight_->epochs.erase(in_flight_->epochs.find(epoch_));
}

BlobLedger::Upload BlobLedger::BeginUpload() {
  MutexLock lock(in_flight_->mutex);
  in_flight_->epochs.insert(in_flight_->known_epoch);
  return {in_flight_, in_flight_->known_epoch};
}

absl::StatusOr<int64_t> BlobLedger::EpochToPublish() {
  // First: uploads that begin while the oldest is looked for begin with this epoch or a later one.
  ASSIGN_OR_RETURN(const int64_t epoch,
                   catalog_.Read([](Snapshot& snapshot) { return snapshot.Epoch(); }));
  MutexLock lock(in_flight_->mutex);
  in_flight_->known_epoch = std::max(in_flight_->known_epoch, epoch);
  return in_flight_->epochs.empty() ? epoch : std::min(epoch, *in_flight_->epochs.begin());
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
