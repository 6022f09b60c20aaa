#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "services/backup/jobs/job.h"
#include "storage/blob_ledger.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Deletes the blobs that nothing needs, and lets go of the chunks of versions that are gone. The
// catalog's rows alone say which those are: it never lists the store and never asks for a file's
// time. Counts the blobs that it removed. Used by one thread at a time.
class Sweep final : public Job {
 public:
  static constexpr absl::string_view kName = "sweep";
  // A request to store a blob, to a store that is elsewhere, may be carried out so long after
  // everybody gave it up: stores take none that was signed earlier.
  static constexpr absl::Duration kLateness = absl::Minutes(15);

  // All that is borrowed must outlive this. Nobody else may use the catalog and the store when this
  // is made: what other processes left pending is dropped by the first run, whatever its lease
  // says, and later once its lease has ended. `chunks_were_released`, which must return at once, is
  // called when chunks may have lost their last reference.
  Sweep(
      storage::Catalog& catalog, storage::BlobStore& blobs, storage::BlobLedger& ledger,
      const Clock& clock, const Counter& removed,
      std::function<void()> chunks_were_released = [] {})
      : catalog_(catalog),
        blobs_(blobs),
        ledger_(ledger),
        clock_(clock),
        removed_(removed),
        chunks_were_released_(std::move(chunks_were_released)) {}

  absl::string_view name() const override { return kName; }
  // The cursor is the last blob that was looked at, in hex. A blob that cannot be deleted is left
  // for the next run.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  absl::Status DropWhatOthersLeft();
  // Has what was deleted last, and then forgets it; what cannot be synced is left for the next run.
  absl::Status ForgetDeleted(const std::stop_token& token);
  // Whether it is to be deleted once more: it was not there, and may come.
  bool MayComeLate(const BlobId& id, bool was_there);
  absl::Status ReleaseRecipes(const std::stop_token& token);

  storage::Catalog& catalog_;
  storage::BlobStore& blobs_;
  storage::BlobLedger& ledger_;
  const Clock& clock_;
  const Counter removed_;
  const std::function<void()> chunks_were_released_;
  bool earlier_ones_are_dropped_ = false;
  std::vector<BlobId> unsynced_;         // That this run deleted, and has not forgotten yet.
  std::map<BlobId, absl::Time> absent_;  // When they were first found so.
};

}  // namespace backup::jobs
