#include "services/backup/jobs/sweep.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

// Rows that one transaction changes at most.
constexpr int kPage = 256;
// The same of steps of recipes, which take less.
constexpr int kReleasedSteps = 1024;
// Of blobs that are to be deleted once more; of others the rows are forgotten at once.
constexpr size_t kMaxAbsent = 100'000;
// Of blobs that were deleted, before that is synced: so many share the syncs of all folders.
constexpr size_t kMaxUnsynced = 4096;

}  // namespace

absl::StatusOr<Job::Progress> Sweep::Step(const std::string& cursor, int64_t budget,
                                          const std::stop_token& token) {
  BecomeLowPriority();
  // On a full disk nothing can be dropped, but what was dropped before can be deleted.
  if (cursor.empty()) {
    unsynced_.clear();  // Of a run that failed: it comes to them again.
    const absl::Status dropped = DropWhatOthersLeft();
    if (ReasonOf(dropped) != Reason::kStorageFull) RETURN_IF_ERROR(dropped);
  }
  const BlobId after = BlobIdFromHex(cursor).value_or(BlobId());
  ASSIGN_OR_RETURN(const std::vector<BlobId> blobs, catalog_.Read([&](storage::Snapshot& snapshot) {
    return snapshot.ListDroppedBlobs(after, static_cast<int>(budget));
  }));
  Progress progress;
  absl::Status away;
  for (const BlobId& id : blobs) {
    if (token.stop_requested()) break;
    progress.cursor = ToHex(id);
    const auto absent = absent_.find(id);
    if (absent != absent_.end() && clock_.Now() - absent->second < kLateness) continue;
    // Many were never put: as a rule a process that ends leaves ids that it did not use.
    const absl::StatusOr<bool> was_there = blobs_.Delete(id);
    // Each of the others would wait for the store as long.
    if (storage::SaysStoreIsAway(was_there.status())) {
      away = was_there.status();
      break;
    }
    if (!was_there.ok()) {
      LOG(WARNING) << "a blob that is not needed stays until the next sweep: "
                   << was_there.status();
      continue;
    }
    if (*was_there) ++progress.count;
    if (!MayComeLate(id, *was_there)) unsynced_.push_back(id);
  }
  progress.is_done = std::ssize(blobs) < budget;
  removed_.Add(static_cast<double>(progress.count));
  // Before it waits for a sync: what the job `repack` takes for needed until then, it keeps.
  absl::Status released;
  if (progress.is_done && away.ok()) released = ReleaseRecipes(token);
  if (progress.is_done || !away.ok() || unsynced_.size() >= kMaxUnsynced)
    RETURN_IF_ERROR(ForgetDeleted(token));
  RETURN_IF_ERROR(away);
  RETURN_IF_ERROR(released);
  return progress;
}

absl::Status Sweep::ForgetDeleted(const std::stop_token& token) {
  const std::vector<BlobId> deleted = std::exchange(unsynced_, {});
  if (deleted.empty() || token.stop_requested()) return absl::OkStatus();
  // Else a crash could bring back what nobody knows of any more.
  const absl::Status synced = blobs_.SyncDeletes();
  LOG_IF(WARNING, !synced.ok()) << "blobs that were deleted are deleted again by the next sweep: "
                                << synced;
  if (!synced.ok()) return absl::OkStatus();
  for (size_t begin = 0; begin < deleted.size() && !token.stop_requested(); begin += kPage) {
    const absl::Span<const BlobId> page = absl::MakeConstSpan(deleted).subspan(begin, kPage);
    const absl::Status forgotten = catalog_.Run([&](storage::Transaction& transaction) {
      return transaction.ForgetDroppedBlobs({page.begin(), page.end()});
    });
    // What is remembered for nothing is looked for again, which does no harm.
    if (ReasonOf(forgotten) != Reason::kStorageFull) RETURN_IF_ERROR(forgotten);
  }
  return absl::OkStatus();
}

bool Sweep::MayComeLate(const BlobId& id, bool was_there) {
  if (absent_.erase(id) > 0 || was_there || !blobs_.is_elsewhere() || absent_.size() >= kMaxAbsent)
    return false;
  absent_.emplace(id, clock_.Now());
  return true;
}

absl::Status Sweep::ReleaseRecipes(const std::stop_token& token) {
  bool any = false;
  while (!token.stop_requested()) {
    ASSIGN_OR_RETURN(const int64_t released, catalog_.Run([](storage::Transaction& transaction) {
      return transaction.ReleaseRecipes(kReleasedSteps);
    }));
    if (released == 0) break;
    any = true;
  }
  if (any) chunks_were_released_();
  return absl::OkStatus();
}

absl::Status Sweep::DropWhatOthersLeft() {
  RETURN_IF_ERROR(ledger_.Renew());
  const absl::Time ended_before = earlier_ones_are_dropped_ ? clock_.Now() : absl::InfiniteFuture();
  while (true) {
    ASSIGN_OR_RETURN(const int64_t dropped, catalog_.Run([&](storage::Transaction& transaction) {
      return transaction.DropPendingBlobsOfOthers(ledger_.self(), ended_before, kPage);
    }));
    if (dropped < kPage) break;
  }
  earlier_ones_are_dropped_ = true;
  return absl::OkStatus();
}

}  // namespace backup::jobs
