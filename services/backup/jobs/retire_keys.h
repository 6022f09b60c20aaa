#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "content/blob_footer.h"
#include "content/store_keys.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/key_retirement.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/job.h"
#include "services/backup/jobs/pace.h"
#include "services/backup/jobs/required_packs.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Seals anew what generations of keys have sealed that are to go (handlers::KeyRetirement), and
// then removes them: the store's secret, clients' session keys, the keys of versions that are kept
// whole, and packs, which the job `repack` rewrites, with a key of their own each. Before what may
// seal with them yet, or has been given what they sealed, has ended (KeyRing::Use), nothing is
// removed. What cannot be sealed anew, as it is damaged, cannot be read now, or is a blob that the
// catalog does not know, keeps its generation; it is named in the log and tried again, after an
// hour, then ever later. Each change is one transaction with the place behind it, and may be done
// twice. Counts what was sealed anew. Used by one thread at a time.
class RetireKeys final : public Job {
 public:
  static constexpr absl::string_view kName = "retire";
  // Between the end of a round that left something and the next round: at first, and, as it doubles
  // each time, at most.
  static constexpr absl::Duration kFirstRoundInterval = absl::Hours(1);
  static constexpr absl::Duration kMaxRoundInterval = absl::Hours(24);

  struct Options {
    int64_t bytes_per_second = 0;  // That are read and written, but for packs; 0: no limit.
    // What goes on for longer is told while it is waited for.
    absl::Duration patience = absl::Minutes(15);
    // Takes a snapshot of the state, once a generation has gone.
    std::function<absl::Status(const std::stop_token&)> back_up_state = [](const std::stop_token&) {
      return absl::OkStatus();
    };
    std::function<void()> wake_repack = [] {};
  };

  // `keeper` keeps the keys of `resources`, of which `store_keys` are, too; all outlive this.
  RetireKeys(const handlers::UploadResources& resources, handlers::KeyKeeper& keeper,
             content::StoreKeys& store_keys, RequiredPacks& packs, Options options)
      : resources_(resources),
        keeper_(keeper),
        store_keys_(store_keys),
        packs_(packs),
        options_(std::move(options)),
        pace_(options_.bytes_per_second) {}

  absl::string_view name() const override { return kName; }
  absl::string_view audit_action() const override { return "keys retire"; }
  // Idle while nothing is to go, or something must end first. Errors that are no failure of the
  // step itself: what was left, at the end of a round; what calls or jobs are waited for, once an
  // hour; what `repack` could not do, each time.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  using Phase = handlers::KeyRetirement::Phase;
  // Something that stays as it is, and why.
  struct Left {
    std::string what;
    absl::Status why;
  };
  // Packs that were looked at together.
  struct PackPage {
    int64_t last = 0;
    std::vector<int64_t> handed;  // To `repack`.
    std::vector<Left> left;
  };

  absl::StatusOr<Progress> DoStep(const std::stop_token& token);
  absl::Status Load();
  bool WaitsForNextRound() const;
  // Each does a part of its phase, or begins the next one; true if there is nothing to do now.
  absl::StatusOr<bool> DoPart(const std::stop_token& token);
  absl::StatusOr<bool> ResealSecret();
  absl::StatusOr<bool> WaitForUses(Phase next);
  absl::StatusOr<bool> ResealClients();
  absl::StatusOr<bool> ResealTrashedClients();
  absl::StatusOr<bool> ResealVersions(const std::stop_token& token);
  absl::StatusOr<bool> RewritePacks(const std::stop_token& token);
  absl::StatusOr<bool> LookAtUnknownBlobs(const std::stop_token& token);
  absl::StatusOr<bool> Remove(const std::stop_token& token);
  // As something is sealed by them still that the phases have not met: at once, but later if that
  // was so before.
  absl::StatusOr<bool> GoThroughAgain(const std::string& still_sealed);

  bool IsRetiring(uint32_t generation) const { return state_.generations.contains(generation); }
  bool IsRetiring(const content::BlobFooter& footer) const;
  // Whether a retiring generation has sealed something in the footer of a pack, or of what is kept
  // whole. NotFound; reasons BLOB_DAMAGED, STORAGE_IO.
  absl::StatusOr<bool> IsRetiring(const BlobId& blob) const;

  // In one transaction, with `position` as the place behind them.
  absl::Status ResealSessionKeys(const std::vector<storage::Client>& clients, std::string position);
  absl::Status ResealVersion(const storage::StoredVersion& stored, const std::stop_token& token);
  // OK also if the version has other content by now. Each puts a copy in the place of what was
  // stored once that was read and is what the version says.
  absl::Status ReplaceWhole(const storage::StoredVersion& stored, content::BlobFooter footer,
                            const std::stop_token& token);
  absl::Status ReplaceBlob(const storage::StoredVersion& stored, const BlobId& blob,
                           const content::BlobFooter& footer, const std::stop_token& token);
  absl::Status ReplaceInline(const storage::StoredVersion& stored, const std::string& bytes,
                             const content::BlobFooter& footer, const std::stop_token& token);
  absl::Status CheckCopy(std::unique_ptr<RandomAccess> copy, const storage::Version& version,
                         const std::stop_token& token);
  // Returns whether the version had what is `stored`, and unmarked.
  absl::StatusOr<bool> Replace(const storage::StoredVersion& stored,
                               const storage::NewContent& content);
  // Whether a version that was listed has this content still.
  absl::StatusOr<bool> IsStillSo(const storage::StoredVersion& stored);

  absl::StatusOr<PackPage> LookAtPacks(const std::stop_token& token);
  absl::Status LookAtPack(const storage::PackInfo& pack, PackPage& page,
                          const std::stop_token& token);
  // What became of page_; true if there is nothing to do now.
  absl::StatusOr<bool> SettlePacks();
  // Of those that were handed to `repack`.
  absl::StatusOr<std::vector<storage::PackInfo>> StillThere();
  // `why` is no reason to leave them.
  absl::StatusOr<bool> TryPacksAgain(int64_t gone, const absl::Status& why);
  absl::StatusOr<bool> IsUnknown(const BlobId& id);
  absl::Status LookAtUnknownBlob(const BlobId& id);

  void Leave(const Left& left);
  // With what was left. Returns that as an error.
  absl::Status EndRound();
  void GoOnWith(Phase phase);
  // What came of a step, in which so many were sealed anew, unless other generations are to go by
  // now: then that begins anew.
  absl::Status Save(storage::Transaction& transaction, int64_t resealed) const;
  absl::Status Save(int64_t resealed = 0);
  std::string Generations() const;

  const handlers::UploadResources& resources_;
  handlers::KeyKeeper& keeper_;
  content::StoreKeys& store_keys_;
  RequiredPacks& packs_;
  const Options options_;
  Pace pace_;
  handlers::KeyRetirement state_;  // As the catalog has it when a step begins.
  int64_t count_ = 0;              // Of this step.
  int64_t count_of_run_ = 0;
  bool has_told_error_ = false;                       // The last run that was not idle.
  std::optional<uint64_t> uses_;                      // All that began before these must end.
  std::optional<PackPage> page_;                      // Behind state_.position.
  bool goes_again_ = false;                           // GoThroughAgain() was called for these.
  std::chrono::steady_clock::time_point tell_again_;  // Not before, what is waited for is told.
};

}  // namespace backup::jobs
