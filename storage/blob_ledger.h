#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/stock.h"

namespace backup::storage {

// The blobs on their way into the store by this process, and since when the uploads that bring them
// look at the catalog. The rows in the catalog alone decide what becomes of a blob, or of a chunk
// that an upload has found; this keeps them true while uploads come and go. Thread-safe.
class BlobLedger {
 private:
  struct InFlight;

 public:
  // How long the catalog believes in a process that gives no sign of life. It renews its leases
  // several times as often.
  static constexpr absl::Duration kLease = absl::Minutes(10);

  // `catalog` must outlive this, and `clock` the catalog.
  BlobLedger(Catalog& catalog, const Clock& clock, const OwnerId& self);

  const OwnerId& self() const { return self_; }
  // What belongs to this process from now on belongs to it so long.
  BlobLease NewLease() const { return {self_, clock_.Now() + kLease}; }

  // An upload that is under way: as long as this lives, nothing goes for good that a snapshot of
  // its epoch or a later one has offered (Snapshot::FindChunk). Used by one thread at a time.
  class Upload {
   public:
    ~Upload();
    Upload(Upload&& other) noexcept
        : in_flight_(std::exchange(other.in_flight_, nullptr)), epoch_(other.epoch_) {}
    Upload& operator=(Upload&&) = delete;

    int64_t epoch() const { return epoch_; }

   private:
    friend class BlobLedger;
    Upload(std::shared_ptr<InFlight> in_flight, int64_t epoch)
        : in_flight_(std::move(in_flight)), epoch_(epoch) {}

    std::shared_ptr<InFlight> in_flight_;
    int64_t epoch_;
  };
  // To be called before the first look-up, and not before Renew() has gone well once.
  Upload BeginUpload();

  // Publishes (Transaction::PublishEpoch) since when the oldest upload looks at the catalog, or
  // that there is none. Renew() does, too. Reasons as Catalog::Run().
  absl::Status PublishNow();

  // A new blob id that is durably pending: something may be put under it. Waits for a transaction
  // only if many are taken at once. Reasons as Catalog::Run().
  absl::StatusOr<BlobId> Take();

  // Tells that the upload of a blob failed, or that nobody knows whether its version was added:
  // unless a version refers to it, it is dropped. Only once nothing is put under it any more.
  // Returns at once; what cannot be written now is tried again by Renew().
  void Release(const BlobId& id);
  // The same of a recipe that was begun (Transaction::AppendRecipe).
  void ReleaseRecipe(int64_t recipe_id);

  // Renews the leases, tries again what could not be released, and publishes. To be called several
  // times within kLease. Reasons as Catalog::Run().
  absl::Status Renew();

 private:
  // Outlives the ledger by as long as a transaction is in flight.
  struct Unwritten {
    Mutex mutex;
    std::set<BlobId> released ABSL_GUARDED_BY(mutex);
    std::set<int64_t> released_recipes ABSL_GUARDED_BY(mutex);
  };
  // Outlives the ledger by as long as an upload.
  struct InFlight {
    Mutex mutex;
    int64_t known_epoch ABSL_GUARDED_BY(mutex) = 0;  // That a durable state has had.
    std::multiset<int64_t> epochs ABSL_GUARDED_BY(mutex);
  };

  // What is true of all uploads that are under way and of all to come.
  absl::StatusOr<int64_t> EpochToPublish();

  Catalog& catalog_;
  const Clock& clock_;
  const OwnerId self_;
  Stock<BlobId> stock_;
  const std::shared_ptr<Unwritten> unwritten_ = std::make_shared<Unwritten>();
  const std::shared_ptr<InFlight> in_flight_ = std::make_shared<InFlight>();
};

}  // namespace backup::storage
