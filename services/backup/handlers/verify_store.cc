#include "services/backup/handlers/verify_store.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "services/backup/handlers/open_content.h"

namespace backup::handlers {
namespace {

// Versions read from the catalog at once; small ones come with their content.
constexpr int kPage = 64;
// How often progress is told at least; that is also when a caller that is gone is noticed.
constexpr int64_t kBytesPerProgress = int64_t{256} << 20;

using Report = std::function<absl::Status(const v1::VerifyStoreResponse&)>;

// OK if the whole content is what was stored.
absl::Status ReadBack(const storage::BlobStore& blobs, const crypto::MasterKey& master_key,
                      PieceBudget& budget, const storage::StoredVersion& stored) {
  ASSIGN_OR_RETURN(const std::unique_ptr<content::StoredContent> content,
                   OpenContent(blobs, master_key, stored));
  const std::unique_ptr<ByteSource> bytes = content->Read(budget, 0, stored.version.size_bytes);
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, bytes->Read());
    if (piece.empty()) return absl::OkStatus();
  }
}

v1::VerifyStoreResponse Finding(const storage::StoredVersion& stored, const absl::Status& wrong) {
  v1::VerifyStoreResponse event;
  v1::VerifyFinding& finding = *event.mutable_finding();
  finding.set_kind(ReasonOf(wrong) == Reason::kStorageIo ? v1::VerifyFinding::UNREADABLE
                   : SaysMissing(wrong)                  ? v1::VerifyFinding::MISSING
                                                         : v1::VerifyFinding::DAMAGED);
  if (const std::optional<Reason> reason = ReasonOf(wrong))
    finding.set_reason(std::string(InfoOf(*reason).name));
  finding.set_client_id(ToUuid(stored.version.client_id));
  finding.set_file_name(NameToText(stored.version.file_name));
  finding.set_version_id(stored.version.version_id);
  finding.set_detail(std::string(wrong.message()));
  return event;
}

absl::Status ReportProgress(const v1::VerifySummary& summary, int64_t total_versions,
                            const Report& report) {
  v1::VerifyStoreResponse event;
  event.mutable_progress()->set_checked_versions(summary.checked_versions());
  event.mutable_progress()->set_total_versions(total_versions);
  event.mutable_progress()->set_checked_bytes(summary.checked_bytes());
  return report(event);
}

// What nothing in the catalog knows of. A blob becomes known before it is stored, and is forgotten
// after it was deleted; so one that is not known may just have gone.
absl::StatusOr<bool> IsOrphan(storage::Catalog& catalog, const storage::BlobStore& blobs,
                              const BlobId& blob) {
  const auto use = [&] {
    return catalog.Read([&](storage::Snapshot& snapshot) { return snapshot.FindBlob(blob); });
  };
  ASSIGN_OR_RETURN(const storage::BlobUse first_look, use());
  if (first_look != storage::BlobUse::kUnknown) return false;
  const absl::Status still_there = blobs.Open(blob).status();
  if (absl::IsNotFound(still_there)) return false;
  RETURN_IF_ERROR(still_there);
  ASSIGN_OR_RETURN(const storage::BlobUse second_look, use());
  return second_look == storage::BlobUse::kUnknown;
}

absl::Status ReportOrphans(storage::Catalog& catalog, const storage::BlobStore& blobs,
                           v1::VerifySummary& summary, const Report& report) {
  return blobs.List([&](const storage::BlobInfo& blob) -> absl::Status {
    ASSIGN_OR_RETURN(const bool is_orphan, IsOrphan(catalog, blobs, blob.id));
    if (!is_orphan) return absl::OkStatus();
    summary.set_orphan_blobs(summary.orphan_blobs() + 1);
    v1::VerifyStoreResponse event;
    event.mutable_finding()->set_kind(v1::VerifyFinding::ORPHAN);
    event.mutable_finding()->set_detail(absl::StrCat("blob ", ToHex(blob.id), " has no version"));
    return report(event);
  });
}

// Goes through all versions, as of the moment when each page is read.
absl::Status CheckVersions(storage::Catalog& catalog, const storage::BlobStore& blobs,
                           const crypto::MasterKey& master_key, PieceBudget& budget,
                           v1::VerifySummary& summary, const Report& report) {
  ASSIGN_OR_RETURN(const storage::Counts counts,
                   catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
  int64_t after = 0;
  int64_t told_bytes = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ScanVersions(after, kPage);
                     }));
    if (page.empty()) return absl::OkStatus();
    for (const storage::StoredVersion& stored : page) {
      after = stored.version.version_id;
      summary.set_checked_versions(summary.checked_versions() + 1);
      if (stored.version.state == storage::VersionState::kAbandoned) continue;
      const absl::Status wrong =
          LookAgain(catalog, stored.version, ReadBack(blobs, master_key, budget, stored));
      summary.set_checked_bytes(summary.checked_bytes() + stored.version.size_bytes);
      if (summary.checked_bytes() - told_bytes >= kBytesPerProgress) {
        told_bytes = summary.checked_bytes();
        RETURN_IF_ERROR(ReportProgress(summary, counts.versions, report));
      }
      // Deleted since the page was read: nothing is wrong.
      if (wrong.ok() || ReasonOf(wrong) == Reason::kVersionNotFound) continue;
      summary.set_damaged_versions(summary.damaged_versions() + 1);
      RETURN_IF_ERROR(report(Finding(stored, wrong)));
    }
    RETURN_IF_ERROR(ReportProgress(summary, counts.versions, report));
  }
}

}  // namespace

absl::Status VerifyStore(storage::Catalog& catalog, const storage::BlobStore& blobs,
                         const crypto::MasterKey& master_key, PieceBudget& budget,
                         const Report& report) {
  v1::VerifyStoreResponse last;
  v1::VerifySummary& summary = *last.mutable_summary();
  RETURN_IF_ERROR(CheckVersions(catalog, blobs, master_key, budget, summary, report));
  RETURN_IF_ERROR(ReportOrphans(catalog, blobs, summary, report));
  return report(last);
}

}  // namespace backup::handlers
