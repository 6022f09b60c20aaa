#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/stock.h"

namespace backup::storage {

// The blobs on their way into the store by this process, and what the uploads that bring them found
// in the catalog. The rows in the catalog alone decide what becomes of a blob, or of a chunk
// that an upload has found; this keeps them true while uploads come and go. Thread-safe.
class BlobLedger {
 private:
  struct UploadState;

 public:
  // How long the catalog believes in a process that gives no sign of life. It renews its leases
  // several times as often.
  static constexpr absl::Duration kLease = absl::Minutes(10);
  // So often that a few failures do no harm.
  static constexpr absl::Duration kRenewalInterval = absl::Minutes(1);
  // An upload holds an epoch for no longer than twice that, as long as the catalog can be written.
  static constexpr absl::Duration kLongestHold = absl::Minutes(2);

  // `catalog` must outlive this, and `clock` the catalog.
  BlobLedger(Catalog& catalog, const Clock& clock, const OwnerId& self);

  const OwnerId& self() const { return self_; }
  // What belongs to this process from now on belongs to it so long.
  BlobLease NewLease() const { return {self_, clock_.Now() + kLease}; }

  // An upload that is under way. What it finds in the catalog it may refer to as long as it lives:
  //
  // * From before a look at the catalog until all that was found is in rows that refer to it, the
  //   upload holds an epoch, and the ledger publishes none above it. What a snapshot of that epoch
  //   or a later one offers (Snapshot::FindChunk) is condemned by a later epoch, if at all, and
  //   goes only once all have published that.
  // * An upload may take hours from what it finds until it adds its version, or never come to its
  //   end. So SecureFound() refers to what an upload had found when it was called the last time: in
  //   a recipe of the ledger's own, which is released when the upload is over. What has a reference
  //   stays (docs/storage.md), so the upload holds the epoch no longer.
  // * An upload that found nothing holds nothing.
  //
  // So no epoch is held for longer than from one SecureFound() to the next but one, whatever
  // clients do. Used by one thread at a time; the ledger must outlive it. Once Find() was called
  // its end may wait for the catalog, so it must not come in what the catalog's writer calls.
  class Upload {
   public:
    ~Upload();
    Upload(Upload&& other) noexcept
        : ledger_(other.ledger_), state_(std::exchange(other.state_, nullptr)) {}
    Upload& operator=(Upload&&) = delete;

    // Looks for a chunk by `find`, which says whether a snapshot of at least the epoch that it is
    // given offers it, now or before; if so, the upload may refer to it. Returns what `find` does.
    // SecureFound() waits for that, so it must wait for the catalog at most.
    using FindChunk = std::function<absl::StatusOr<bool>(int64_t epoch)>;
    absl::StatusOr<bool> Find(const ChunkRef& ref, const FindChunk& find);
    // Runs `write`, a transaction that refers to all that was found but for `rest`, which it may
    // have given rows without a reference. Returns what `write` does.
    absl::Status Write(std::vector<ChunkRef> rest, const std::function<absl::Status()>& write);

   private:
    friend class BlobLedger;
    Upload(BlobLedger& ledger, std::shared_ptr<UploadState> state)
        : ledger_(&ledger), state_(std::move(state)) {}

    BlobLedger* ledger_;
    std::shared_ptr<UploadState> state_;
  };
  // Find() must not be called before Renew() or PublishNow() has gone well once.
  Upload BeginUpload();
  // For how long the oldest epoch was held that is held now; zero: none is.
  absl::Duration HoldTime() const;

  // Publishes (Transaction::PublishEpoch) the oldest epoch that is held, or that there is none.
  // Renew() does, too. Reasons as Catalog::Run().
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

  // Renews the leases, tries again what could not be released, and publishes. To be called every
  // kRenewalInterval. Reasons as Catalog::Run().
  absl::Status Renew();
  // Refers to what uploads had found at the last call and no row refers to yet, and publishes. To
  // be called every kRenewalInterval, by one thread at a time: what comes to its end sooner needs
  // no such rows. Reasons as Catalog::Run().
  absl::Status SecureFound();

 private:
  // Outlives the ledger by as long as a transaction is in flight.
  struct Unwritten {
    Mutex mutex;
    std::set<BlobId> released ABSL_GUARDED_BY(mutex);
    std::set<int64_t> released_recipes ABSL_GUARDED_BY(mutex);
  };
  struct UploadState {
    Mutex mutex;                                         // Held while the upload looks or writes.
    std::vector<ChunkRef> found ABSL_GUARDED_BY(mutex);  // To which no row refers for it.
    bool has_waited ABSL_GUARDED_BY(mutex) = false;      // Something found, for a SecureFound().
    int64_t recipe_id ABSL_GUARDED_BY(mutex) = 0;        // The ledger's; 0: it has none.
  };
  struct Hold {
    int64_t epoch = 0;
    std::chrono::steady_clock::time_point begin;
  };

  int64_t HoldEpoch(const std::shared_ptr<UploadState>& upload);
  // If nothing was found that no row refers to.
  void LetGo(const std::shared_ptr<UploadState>& upload)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload->mutex);
  void EndUpload(const std::shared_ptr<UploadState>& upload);
  absl::Status Refer(const std::shared_ptr<UploadState>& upload)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload->mutex);
  // What is true of all uploads that are under way and of all to come.
  absl::StatusOr<int64_t> EpochToPublish();

  Catalog& catalog_;
  const Clock& clock_;
  const OwnerId self_;
  Stock<BlobId> stock_;
  const std::shared_ptr<Unwritten> unwritten_ = std::make_shared<Unwritten>();
  mutable Mutex mutex_;
  int64_t known_epoch_ ABSL_GUARDED_BY(mutex_) = 0;  // That a durable state has had.
  std::map<std::shared_ptr<UploadState>, Hold> holds_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
