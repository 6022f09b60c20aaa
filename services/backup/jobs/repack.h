#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "services/backup/handlers/chunk_id_keys.h"
#include "services/backup/handlers/pending_blob.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/carried_parts.h"
#include "services/backup/jobs/job.h"
#include "services/backup/jobs/pace.h"
#include "services/backup/jobs/required_packs.h"
#include "storage/blob_ledger.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Of `packs`, those that are worth rewriting now: those that are less than two thirds alive, those
// that hold what waits to be compressed, and small ones that together make a pack several times as
// large as the largest of them, which a pack of many chunks, or with a large footer, is not: one
// transaction, or one footer, could not take several such. So each byte is rewritten a few times at
// most because its pack is small, and what nothing can be gained from is left alone.
std::vector<storage::PackInfo> ChooseToRewrite(const std::vector<storage::PackInfo>& packs);

// Gives back the room of chunks that nothing refers to, makes large packs of small ones, and
// compresses what there was no time for: it writes what is needed of some packs into a new one,
// together with what they tell of versions (CarriedParts), and puts that in their place. First it
// condemns packs, then it waits until no upload is under way that may have seen a chunk of theirs
// without a reference; the rows alone say how far that is. A pack with a damaged chunk that is
// referred to stays. What cannot be rewritten does not keep a run from the rest; the run then ends
// with the first such error. Counts packs that are gone. Used by one thread at a time.
class Repack final : public Job {
 public:
  static constexpr absl::string_view kName = "repack";

  struct Options {
    int64_t bytes_per_second = 0;  // That are read and written; 0: as many as can be.
    // How long a run waits for uploads that are under way: they need so long at most, and a while
    // for what the catalog has to do.
    absl::Duration patience = storage::BlobLedger::kLongestHold + absl::Minutes(1);
    // What is to be rewritten besides, whatever is alive of it; outlives the job. Null: nothing.
    RequiredPacks* required = nullptr;
    bool only_required = false;  // And nothing else, but for what is condemned already.
  };

  // `resources` must outlive this. `damaged` counts chunks.
  Repack(const handlers::UploadResources& resources, const Options& options, const Counter& damaged)
      : resources_(resources),
        options_(options),
        damaged_(damaged),
        id_keys_(resources.catalog, resources.store_keys),
        pace_(options.bytes_per_second) {}

  absl::string_view name() const override { return kName; }
  // A step makes new packs of all that is ready, at most twice kMaxCondemned old ones with
  // something alive, whatever the budget; there is no cursor. While one is brought to the medium
  // and told to the catalog, the next is read already; and while the first is read, what the next
  // step is to have ready is condemned.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  // What there is to do.
  struct Backlog {
    std::vector<storage::PackInfo> ready;      // Condemned, and nobody can come to need more.
    std::vector<storage::PackInfo> condemned;  // The others that are.
    std::vector<storage::PackInfo> others;
    std::vector<storage::PackInfo> required;  // Of those that are not condemned.
    // Of those that are condemned, and can be rewritten, how many have something alive.
    size_t live = 0;
    int64_t oldest_epoch = 0;
  };
  // What becomes of some packs.
  struct Plan {
    storage::StorageForm form = storage::StorageForm::kPlain;
    std::vector<int64_t> sources;
    std::vector<storage::StoredChunk> chunks;  // Of those, what goes into the new pack.
    int64_t stored_bytes = 0;                  // Of those chunks, now.
    int64_t rows = 0;                          // Of all chunks that are moved or go.
    CarriedParts parts;                        // Of the sources' footers.
  };

  // A plan that is carried out.
  class Carrying;

  // What a plan has come to so far.
  struct Rewritten {
    std::optional<handlers::PendingBlob> blob;
    std::vector<storage::NewPack> packs;  // One at most.
    std::vector<storage::StoredChunk> damaged;
  };

  absl::StatusOr<Progress> DoStep(const std::stop_token& token);
  absl::StatusOr<Backlog> Look();
  // Of those that another job requires; none that was tried in this run and did not become less.
  absl::StatusOr<std::vector<storage::PackInfo>> ListRequired(storage::Snapshot& snapshot);
  // Whether a pack with something alive can be rewritten in this run, as far as is known.
  bool CanRewrite(const storage::PackInfo& pack, bool must_go);
  // What is to be condemned of what may be.
  static std::vector<storage::PackInfo> ChooseToCondemn(const Backlog& backlog);
  absl::Status Condemn(const std::vector<storage::PackInfo>& packs);
  // Whether the uploads ended for which any of `packs` waits.
  absl::StatusOr<bool> WaitForUploads(const std::vector<storage::PackInfo>& packs,
                                      const std::stop_token& token);
  // Carries out plans for all that is ready, and condemns others meanwhile; returns how many packs
  // are gone.
  absl::StatusOr<int64_t> CarryAll(std::vector<storage::PackInfo> ready,
                                   const std::vector<storage::PackInfo>& to_condemn,
                                   const std::stop_token& token);
  // Waits for its end; returns how many packs are gone. Where one that makes a pack has failed,
  // others go on, and the run tells why at its end; if it could not read, its sources are tried one
  // by one before.
  absl::StatusOr<int64_t> Settle(std::unique_ptr<Carrying> carrying, const std::stop_token& token);
  // The next one that has a source; nothing if there is none.
  absl::StatusOr<std::optional<Plan>> NextPlan(std::vector<storage::PackInfo>& ready);
  // For some of `ready`, which are taken out: what frees most for the least room comes first. Takes
  // out those whose footers the medium does not give, too; the plan may have no source.
  absl::StatusOr<Plan> MakePlan(std::vector<storage::PackInfo>& ready);
  // Adds a source, its chunks and what its footer tells. False if there is no room for all of them:
  // then only the first source is added, with those chunks that there is room for.
  absl::StatusOr<bool> AddSource(const storage::PackInfo& pack, Plan& plan) const;
  // The same without the footer.
  static absl::StatusOr<bool> AddToPlan(storage::Snapshot& snapshot, int64_t pack, Plan& plan);
  // `all_is_read` as for RewrittenPack.
  absl::StatusOr<Rewritten> Rewrite(const Plan& plan, const std::stop_token& token,
                                    const std::function<void()>& all_is_read);
  // Rewrites and tells the catalog; returns how many packs are gone.
  absl::StatusOr<int64_t> Carry(const Plan& plan, const std::stop_token& token,
                                const std::function<void()>& all_is_read);

  const handlers::UploadResources& resources_;
  const Options options_;
  const Counter damaged_;
  // Of the one plan that reads:
  handlers::ChunkIdKeys id_keys_;
  Pace pace_;
  // Of this run:
  std::set<std::pair<int64_t, int64_t>> tried_;  // Required packs, and what was alive of them.
  std::map<int64_t, absl::Status> failed_;       // Packs that could not be rewritten, and why.
  absl::Status failure_;                         // The first of these errors.
  std::set<int64_t> alone_;                      // Those of a plan that could not be read.
};

}  // namespace backup::jobs
