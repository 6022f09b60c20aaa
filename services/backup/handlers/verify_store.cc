#include "services/backup/handlers/verify_store.h"

#include <cstdint>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/check_store.h"

namespace backup::handlers {
namespace {

// Versions read from the catalog at once; small ones of older programs come with their content.
constexpr int kPage = 64;
// How often progress is told at least; that is also when a caller that is gone is noticed.
constexpr int64_t kBytesPerProgress = int64_t{256} << 20;

using Report = std::function<absl::Status(const v1::VerifyStoreResponse&)>;

// One verification: first packs, each once, then versions, each by what is known of its chunks.
class Verification {
 public:
  Verification(const StoredPlaces& places, PieceBudget& budget, double share, const Report& report)
      : places_(places),
        report_(report),
        share_(share),
        check_(places, budget,
               {[this](const v1::VerifyFinding& finding) { return Tell(finding); }}) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(
        const storage::Counts counts,
        places_.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
    total_versions_ = counts.versions + counts.trash_versions;
    RETURN_IF_ERROR(CheckPacks());
    RETURN_IF_ERROR(CheckVersions());
    RETURN_IF_ERROR(places_.blobs.List(
        [&](const storage::BlobInfo& blob) { return check_.CheckBlob(blob.id); }));
    v1::VerifyStoreResponse last;
    summary_.set_checked_bytes(check_.checked_bytes());
    *last.mutable_summary() = summary_;
    return report_(last);
  }

 private:
  bool IsChosen() { return share_ >= 1 || std::generate_canonical<double, 32>(random_) < share_; }
  absl::Status CheckPacks();
  absl::Status CheckVersions();
  absl::Status Tell(const v1::VerifyFinding& finding);
  absl::Status TellProgress();
  absl::Status TellProgressNowAndThen();

  const StoredPlaces& places_;
  const Report& report_;
  const double share_;  // Of what there is that is read.
  std::mt19937_64 random_{std::random_device{}()};
  StoreCheck check_;
  int64_t total_versions_ = 0;
  int64_t told_bytes_ = 0;
  v1::VerifySummary summary_;
};

absl::Status Verification::CheckPacks() {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::PackInfo> page,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPacks(after, kPage);
                     }));
    if (page.empty()) return absl::OkStatus();
    for (const storage::PackInfo& pack : page) {
      after = pack.pack;
      if (!IsChosen()) continue;
      RETURN_IF_ERROR(check_.CheckPack(pack));
      RETURN_IF_ERROR(TellProgressNowAndThen());
    }
  }
}

// Goes through all versions, as of the moment when each page is read.
absl::Status Verification::CheckVersions() {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> page,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ScanVersions(after, kPage);
                     }));
    if (page.empty()) return absl::OkStatus();
    for (const storage::StoredVersion& stored : page) {
      after = stored.version.version_id;
      if (!IsChosen()) continue;
      summary_.set_checked_versions(summary_.checked_versions() + 1);
      RETURN_IF_ERROR(check_.CheckVersion(stored));
      RETURN_IF_ERROR(TellProgressNowAndThen());
    }
    RETURN_IF_ERROR(TellProgress());
  }
}

absl::Status Verification::Tell(const v1::VerifyFinding& finding) {
  if (finding.kind() == v1::VerifyFinding::ORPHAN) {
    summary_.set_orphan_blobs(summary_.orphan_blobs() + 1);
  } else {
    summary_.set_damaged_versions(summary_.damaged_versions() + 1);
  }
  v1::VerifyStoreResponse event;
  *event.mutable_finding() = finding;
  return report_(event);
}

absl::Status Verification::TellProgress() {
  told_bytes_ = check_.checked_bytes();
  v1::VerifyStoreResponse event;
  event.mutable_progress()->set_checked_versions(summary_.checked_versions());
  event.mutable_progress()->set_total_versions(total_versions_);
  event.mutable_progress()->set_checked_bytes(check_.checked_bytes());
  return report_(event);
}

absl::Status Verification::TellProgressNowAndThen() {
  const bool is_time = check_.checked_bytes() - told_bytes_ >= kBytesPerProgress;
  return is_time ? TellProgress() : absl::OkStatus();
}

}  // namespace

absl::Status VerifyStore(const StoredPlaces& places, PieceBudget& budget,
                         const v1::VerifyStoreRequest& request, const Report& report) {
  const double share = request.sample_ratio() == 0 ? 1 : request.sample_ratio();
  if (!(share > 0 && share <= 1)) {
    return MakeError(Reason::kInvalidField,
                     "sample_ratio must be above 0 and at most 1, or 0 for everything",
                     "sample_ratio");
  }
  return Verification(places, budget, share, report).Run();
}

}  // namespace backup::handlers
