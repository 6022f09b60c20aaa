#include "services/backup/jobs/scrub.h"

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using handlers::ScrubState;
using storage::PackInfo;
using storage::StoredVersion;

constexpr MetricName kReadBytes{"backup_scrub_read_bytes_total",
                                "Stored bytes that the job scrub read"};
constexpr MetricName kFindings{"backup_scrub_findings_total",
                               "What the job scrub found wrong, by kind, in each cycle anew"};

// Packs and versions of one step; small versions of older programs come with their content.
constexpr int kPacksPerStep = 16;
constexpr int kVersionsPerStep = 64;
// So many bytes are read between two notes of how far it is, and at most one pack more.
constexpr int64_t kBytesPerSave = 64 << 20;
// What a version counts for in the progress, beside its bytes.
constexpr int64_t kStepsPerVersion = 4096;
// Findings of a cycle that have a line in the log each.
constexpr int64_t kMaxLogged = 100;
constexpr std::chrono::seconds kHealingInterval{10};
constexpr std::chrono::minutes kHealingRetry{10};

std::string KindOf(const v1::VerifyFinding& finding) {
  return absl::AsciiStrToLower(v1::VerifyFinding::Kind_Name(finding.kind()));
}

int64_t& CountOf(v1::VerifyFinding::Kind kind, handlers::ScrubTally& tally) {
  switch (kind) {
    case v1::VerifyFinding::MISSING:
      return tally.missing;
    case v1::VerifyFinding::UNREADABLE:
      return tally.unreadable;
    case v1::VerifyFinding::ORPHAN:
      return tally.orphans;
    default:
      return tally.damaged;
  }
}

// What whoever reads the log needs to know of it.
std::string LineOf(const v1::VerifyFinding& finding) {
  if (finding.version_id() == 0) return finding.detail();
  const bool is_unreadable = finding.kind() == v1::VerifyFinding::UNREADABLE;
  const bool has_no_key = finding.reason() == InfoOf(Reason::kKeyMissing).name;
  return absl::StrCat(
      "version ", finding.version_id(), " of ", finding.file_name(), " of client ",
      finding.client_id(), ": ", finding.detail(),
      has_no_key ? "; it is tried again in the next cycle. An older version may be given by"
      : is_unreadable
          ? "; it is tried again in the next cycle: look at the disk. An older version is given by"
          : "; it heals when the same bytes are sent again. Until then an older version is given "
            "by",
      " backupctl file get --fallback ", finding.client_id(), " ", finding.file_name());
}

}  // namespace

ScrubMetrics::ScrubMetrics(Metrics& metrics)
    : read_bytes(metrics.AddCounter(kReadBytes)),
      findings(metrics.AddCounters(kFindings, {"kind"})) {}

absl::StatusOr<Job::Progress> Scrub::Step(const std::string& /*cursor*/, int64_t /*budget*/,
                                          const std::stop_token& token) {
  BecomeLowPriority();
  const crypto::KeyRing::Use use(resources_.master_key);
  token_ = token;
  ASSIGN_OR_RETURN(state_, resources_.catalog.Read([](storage::Snapshot& snapshot) {
    return handlers::FindScrub(snapshot);
  }));
  Heal(token);
  Progress idle;
  idle.is_idle = true;
  if (token.stop_requested() || state_.is_paused) return idle;
  if (!state_.start_time) {
    if (!IsDue()) return idle;
    RETURN_IF_ERROR(Begin());
  }
  const absl::StatusOr<Progress> progress = Go(token);
  // What was read since the last note is read again.
  if (!progress.ok() && token.stop_requested()) return Progress();
  return progress;
}

void Scrub::Heal(const std::stop_token& token) {
  const auto now = std::chrono::steady_clock::now();
  if (now < retry_healing_ || (state_.start_time && now < next_healing_)) return;
  next_healing_ = now + kHealingInterval;
  HealNow(token);
}

void Scrub::HealNow(const std::stop_token& token) {
  const absl::Status healed = healing_.Run(token).status();
  // What was found has gone meanwhile: it is looked for again soon.
  const bool has_gone =
      ReasonOf(healed) == Reason::kBackendDown && !storage::SaysStoreIsAway(healed);
  if (healed.ok() || token.stop_requested() || has_gone) return;
  retry_healing_ = std::chrono::steady_clock::now() + kHealingRetry;
  LOG(WARNING) << "cannot heal what is damaged, and tries again in ten minutes: " << healed;
}

bool Scrub::IsDue() const {
  if (state_.is_wanted) return true;
  if (options_.period == absl::ZeroDuration()) return false;
  const absl::Time now = resources_.clock.Now();
  // One that began in the future began nobody knows when.
  return now >= state_.NextStart(options_.period) ||
         (state_.last_start_time && storage::IsInFuture(*state_.last_start_time, now));
}

absl::Status Scrub::Begin() {
  ASSIGN_OR_RETURN(
      const storage::Counts counts,
      resources_.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
  state_.is_wanted = false;
  state_.start_time = resources_.clock.Now();
  state_.total_steps = counts.pack_bytes + counts.blob_bytes +
                       kStepsPerVersion * (counts.versions + counts.trash_versions);
  state_.done_steps = 0;
  state_.tally = {};
  GoOnWith(ScrubState::Phase::kPacks);
  check_ = nullptr;
  logged_ = 0;
  healing_.StartOver();
  return resources_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const ScrubState now, handlers::FindScrub(transaction));
    state_.is_paused = now.is_paused;
    return handlers::SaveScrub(transaction, state_);
  });
}

void Scrub::GoOnWith(ScrubState::Phase phase) {
  state_.phase = phase;
  state_.position = 0;
}

absl::StatusOr<Job::Progress> Scrub::Go(const std::stop_token& token) {
  if (check_ == nullptr) check_ = NewCheck();
  Progress progress;
  switch (state_.phase) {
    case ScrubState::Phase::kPacks:
      RETURN_IF_ERROR(CheckPacks(token, progress.count));
      break;
    case ScrubState::Phase::kVersions:
      RETURN_IF_ERROR(CheckVersions(token, progress.count));
      break;
    case ScrubState::Phase::kBlobs:
      RETURN_IF_ERROR(CheckBlobs());
      check_ = nullptr;
      // What was found may heal at once.
      HealNow(token);
      progress.is_done = true;
      progress.detail = Detail();
      break;
  }
  return progress;
}

absl::Status Scrub::CheckPacks(const std::stop_token& token, int64_t& count) {
  ASSIGN_OR_RETURN(const std::vector<PackInfo> page,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListPacks(state_.position, kPacksPerStep);
                   }));
  if (page.empty()) GoOnWith(ScrubState::Phase::kVersions);
  int64_t unsaved = 0;
  for (const PackInfo& pack : page) {
    if (token.stop_requested() || state_.is_paused) break;
    RETURN_IF_ERROR(check_->CheckPack(pack));
    ++count;
    ++state_.tally.packs;
    state_.position = pack.pack;
    state_.done_steps += pack.size_bytes;
    unsaved += pack.size_bytes;
    if (unsaved < kBytesPerSave) continue;
    RETURN_IF_ERROR(Save());
    unsaved = 0;
  }
  return Save();
}

absl::Status Scrub::CheckVersions(const std::stop_token& token, int64_t& count) {
  ASSIGN_OR_RETURN(const std::vector<StoredVersion> page,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ScanVersions(state_.position, kVersionsPerStep);
                   }));
  if (page.empty()) GoOnWith(ScrubState::Phase::kBlobs);
  int64_t unsaved = 0;
  for (const StoredVersion& stored : page) {
    if (token.stop_requested() || state_.is_paused) break;
    RETURN_IF_ERROR(check_->CheckVersion(stored));
    const int64_t bytes =
        std::holds_alternative<BlobId>(stored.content) ? stored.version.size_bytes : 0;
    ++count;
    ++state_.tally.versions;
    state_.position = stored.version.version_id;
    state_.done_steps += kStepsPerVersion + bytes;
    unsaved += bytes;
    if (unsaved < kBytesPerSave) continue;
    RETURN_IF_ERROR(Save());
    unsaved = 0;
  }
  return Save();
}

absl::Status Scrub::CheckBlobs() {
  RETURN_IF_ERROR(places_.blobs.List([&](const storage::BlobInfo& blob) -> absl::Status {
    if (token_.stop_requested()) return absl::CancelledError("stopped");
    return check_->CheckBlob(blob.id);
  }));
  state_.last_start_time = state_.start_time;
  state_.last_end_time = resources_.clock.Now();
  state_.last_tally = state_.tally;
  state_.start_time.reset();
  return Save();
}

absl::Status Scrub::Save() {
  return resources_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const ScrubState now, handlers::FindScrub(transaction));
    state_.is_paused = now.is_paused;
    state_.is_wanted = now.is_wanted;
    return handlers::SaveScrub(transaction, state_);
  });
}

std::unique_ptr<handlers::StoreCheck> Scrub::NewCheck() {
  return std::make_unique<handlers::StoreCheck>(
      places_, resources_.stages.pieces,
      handlers::StoreCheck::Hooks{
          [this](const v1::VerifyFinding& finding) { return Note(finding); },
          [this](int64_t bytes) -> absl::Status {
            state_.tally.stored_bytes += bytes;
            metrics_.read_bytes.Add(static_cast<double>(bytes));
            return pace_.Move(bytes, token_) ? absl::OkStatus() : absl::CancelledError("stopped");
          }});
}

absl::Status Scrub::Note(const v1::VerifyFinding& finding) {
  ++CountOf(finding.kind(), state_.tally);
  metrics_.findings.With({KindOf(finding)}).Add();
  if (++logged_ > kMaxLogged) return absl::OkStatus();
  LOG(ERROR) << "scrub: " << KindOf(finding) << ": " << LineOf(finding);
  LOG_IF(ERROR, logged_ == kMaxLogged)
      << "scrub: what else is found in this cycle is counted only; backupctl verify names it";
  return absl::OkStatus();
}

std::string Scrub::Detail() const {
  const handlers::ScrubTally& tally = state_.last_tally;
  return absl::StrCat(" packs=", tally.packs, " versions=", tally.versions,
                      " bytes=", tally.stored_bytes, " damaged=", tally.damaged,
                      " missing=", tally.missing, " unreadable=", tally.unreadable,
                      " orphans=", tally.orphans);
}

}  // namespace backup::jobs
