#pragma once

#include <memory>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/stock.h"

namespace backup::storage {

// The blobs on their way into the store by this process. The rows in the catalog alone decide what
// becomes of a blob; this keeps them true while uploads come and go. Thread-safe.
class BlobLedger {
 public:
  // How long the catalog believes in a process that gives no sign of life. It renews its leases
  // several times as often.
  static constexpr absl::Duration kLease = absl::Minutes(10);

  // `catalog` must outlive this, and `clock` the catalog.
  BlobLedger(Catalog& catalog, const Clock& clock, const OwnerId& self);

  const OwnerId& self() const { return self_; }

  // A new blob id that is durably pending: something may be put under it. Waits for a transaction
  // only if many are taken at once. Reasons as Catalog::Run().
  absl::StatusOr<BlobId> Take();

  // Tells that the upload of a blob failed, or that nobody knows whether its version was added:
  // unless a version refers to it, it is dropped. Only once nothing is put under it any more.
  // Returns at once; what cannot be written now is tried again by Renew().
  void Release(const BlobId& id);

  // Renews the leases and tries again what Release() could not write. To be called several times
  // within kLease. Reasons as Catalog::Run().
  absl::Status Renew();

 private:
  // Outlives the ledger by as long as a transaction is in flight.
  struct Unwritten {
    Mutex mutex;
    std::set<BlobId> released ABSL_GUARDED_BY(mutex);
  };

  BlobLease NewLease() const { return {self_, clock_.Now() + kLease}; }

  Catalog& catalog_;
  const Clock& clock_;
  const OwnerId self_;
  Stock<BlobId> stock_;
  const std::shared_ptr<Unwritten> unwritten_ = std::make_shared<Unwritten>();
};

}  // namespace backup::storage
