#pragma once

#include <cstdint>
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

// A recipe that is put down part by part (Transaction::AppendRecipe), as a PendingBlob is on its
// way. Used by one thread at a time.
class PendingRecipe {
 public:
  // `ledger` must outlive it.
  explicit PendingRecipe(storage::BlobLedger& ledger) : ledger_(&ledger) {}
  ~PendingRecipe() {
    if (ledger_ != nullptr && id_ != 0) ledger_->ReleaseRecipe(id_);
  }
  PendingRecipe(PendingRecipe&& other) noexcept
      : ledger_(std::exchange(other.ledger_, nullptr)), id_(other.id_) {}
  PendingRecipe& operator=(PendingRecipe&&) = delete;

  int64_t id() const { return id_; }  // 0: it was not begun.
  void set_id(int64_t id) { id_ = id; }
  // The transaction that makes it a version's content, or drops it, is durable.
  void Keep() { ledger_ = nullptr; }

 private:
  storage::BlobLedger* ledger_;
  int64_t id_ = 0;
};

}  // namespace backup::handlers
