#include "storage/blob_ledger.h"

#include <sys/random.h>

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

absl::Status BlobLedger::Renew() {
  std::set<BlobId> released;
  {
    MutexLock lock(unwritten_->mutex);
    released = unwritten_->released;
  }
  RETURN_IF_ERROR(catalog_.Run([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.RenewLeases(NewLease()));
    for (const BlobId& id : released) RETURN_IF_ERROR(transaction.DropPendingBlob(id));
    return absl::OkStatus();
  }));
  MutexLock lock(unwritten_->mutex);
  for (const BlobId& id : released) unwritten_->released.erase(id);
  return absl::OkStatus();
}

}  // namespace backup::storage
