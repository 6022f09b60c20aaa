#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "storage/blob_ledger.h"

namespace backup::handlers {

// A blob on its way: whatever becomes of its upload, the ledger is told, unless the blob became a
// version's. Used by one thread at a time.
class PendingBlob {
 public:
  // A new one, under whose id something may be put. `ledger` must outlive it.
  static absl::StatusOr<PendingBlob> Take(storage::BlobLedger& ledger) {
    ASSIGN_OR_RETURN(const BlobId id, ledger.Take());
    return PendingBlob(ledger, id);
  }
  ~PendingBlob() {
    if (ledger_ != nullptr) ledger_->Release(id_);
  }
  PendingBlob(PendingBlob&& other) noexcept
      : ledger_(std::exchange(other.ledger_, nullptr)), id_(other.id_) {}
  PendingBlob& operator=(PendingBlob&& other) noexcept {
    std::swap(ledger_, other.ledger_);
    std::swap(id_, other.id_);
    return *this;
  }

  const BlobId& id() const { return id_; }
  // The transaction that makes it a version's content, or drops it, is durable.
  void Keep() { ledger_ = nullptr; }

 private:
  PendingBlob(storage::BlobLedger& ledger, const BlobId& id) : ledger_(&ledger), id_(id) {}

  storage::BlobLedger* ledger_;
  BlobId id_;
};

}  // namespace backup::handlers
