#include "services/backup/jobs/healing.h"

#include <memory>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using storage::StorageForm;
using storage::StoredVersion;
using storage::Version;

// Versions that are looked at at once; small ones of older programs come with their content.
constexpr int kPage = 64;
// Damaged versions that are remembered at once; the others have their turn after these.
constexpr size_t kMaxDamaged = 4096;
// To go through all versions takes at most one of so many parts of the time, whatever is found
// meanwhile, if it takes longer than a moment.
constexpr int kCollectionShare = 20;
constexpr std::chrono::seconds kMoment{1};

// Calls `visit` for each version above `after` until it returns an error or false, or the job is to
// stop.
template <typename Visit>
absl::Status ForEachVersion(storage::Catalog& catalog, int64_t after, const std::stop_token& token,
                            const Visit& visit) {
  while (!token.stop_requested()) {
    ASSIGN_OR_RETURN(const std::vector<StoredVersion> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ScanVersions(after, kPage);
                     }));
    if (page.empty()) return absl::OkStatus();
    for (const StoredVersion& stored : page) {
      ASSIGN_OR_RETURN(const bool goes_on, visit(stored));
      if (!goes_on) return absl::OkStatus();
    }
    after = page.back().version.version_id;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> Healing::Run(const std::stop_token& token) {
  ASSIGN_OR_RETURN(
      const storage::Counts counts,
      resources_.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
  TellOfHealedChunks(counts);
  const Signature signature = {counts.damaged_chunks, counts.marked_versions, counts.healed_chunks,
                               counts.healed_versions};
  const bool is_anything = counts.damaged_chunks > 0 || counts.marked_versions > 0;
  if (!is_anything) damaged_.clear();
  const auto begin = std::chrono::steady_clock::now();
  const bool is_anew = is_anything && IsToCollect(signature);
  if (is_anew) {
    RETURN_IF_ERROR(CollectDamaged(token));
    signature_ = signature;
    Rest(begin);
  }
  int64_t healed = 0;
  if (damaged_.empty()) return healed;
  RETURN_IF_ERROR(ForEachVersion(resources_.catalog, looked_to_, token,
                                 [&](const StoredVersion& stored) -> absl::StatusOr<bool> {
                                   ASSIGN_OR_RETURN(const int64_t count, HealFrom(stored, token));
                                   healed += count;
                                   if (!token.stop_requested())
                                     looked_to_ = stored.version.version_id;
                                   return true;
                                 }));
  looked_through_ = true;
  if (is_anew) Rest(begin);
  return healed;
}

bool Healing::IsToCollect(const Signature& signature) const {
  if (std::chrono::steady_clock::now() < next_collection_) return false;
  const absl::Time now = resources_.clock.Now();
  return signature_ != signature || (looked_through_ && collected_to_ != 0) ||
         now >= collect_time_ + kLookAgain || now < collect_time_;
}

void Healing::Rest(std::chrono::steady_clock::time_point begin) {
  const auto end = std::chrono::steady_clock::now();
  if (end - begin > kMoment) next_collection_ = end + kCollectionShare * (end - begin);
}

void Healing::TellOfHealedChunks(const storage::Counts& counts) {
  const int64_t before = healed_chunks_.value_or(counts.healed_chunks);
  LOG_IF(INFO, counts.healed_chunks > before)
      << counts.healed_chunks - before
      << " damaged chunks are healed, and with them all versions that have them";
  healed_chunks_ = counts.healed_chunks;
}

absl::Status Healing::CollectDamaged(const std::stop_token& token) {
  damaged_.clear();
  looked_to_ = 0;
  looked_through_ = false;
  collect_time_ = resources_.clock.Now();
  size_t count = 0;
  int64_t last = 0;
  const auto take = [&](const StoredVersion& stored) -> absl::StatusOr<bool> {
    const Version& version = stored.version;
    if (!version.is_damaged) return true;
    damaged_[{version.sha256, version.size_bytes}].push_back(version);
    last = version.version_id;
    return ++count < kMaxDamaged;
  };
  // Behind those of the last time, then from the beginning up to these.
  const int64_t middle = collected_to_;
  RETURN_IF_ERROR(ForEachVersion(resources_.catalog, middle, token, take));
  if (count < kMaxDamaged && middle > 0) {
    RETURN_IF_ERROR(ForEachVersion(resources_.catalog, /*after=*/0, token,
                                   [&](const StoredVersion& stored) -> absl::StatusOr<bool> {
                                     if (stored.version.version_id > middle) return false;
                                     return take(stored);
                                   }));
  }
  collected_to_ = count < kMaxDamaged ? 0 : last;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Healing::HealFrom(const StoredVersion& good, const std::stop_token& token) {
  const Version& version = good.version;
  if (version.is_damaged || version.state == storage::VersionState::kAbandoned) return 0;
  const auto equal = damaged_.find({version.sha256, version.size_bytes});
  if (equal == damaged_.end()) return 0;
  int64_t count = 0;
  std::vector<Version> left;
  for (const Version& damaged : equal->second) {
    ASSIGN_OR_RETURN(const bool is_healed, Heal(damaged, good, token));
    if (is_healed) {
      ++count;
    } else {
      left.push_back(damaged);
    }
  }
  if (left.empty()) {
    damaged_.erase(equal);
  } else {
    equal->second = std::move(left);
  }
  return count;
}

absl::StatusOr<bool> Healing::Heal(const Version& damaged, const StoredVersion& good,
                                   const std::stop_token& token) {
  ASSIGN_OR_RETURN(const std::vector<StoredVersion> now,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ScanVersions(damaged.version_id - 1, /*limit=*/1);
                   }));
  const bool is_damaged = !now.empty() && now.front().version.version_id == damaged.version_id &&
                          now.front().version.is_damaged;
  if (!is_damaged) return true;
  // As uploads need it that look for chunks.
  RETURN_IF_ERROR(resources_.ledger.PublishNow());
  ASSIGN_OR_RETURN(std::optional<StoredAnew> copy, Copy(damaged, good, token));
  if (!copy) return false;
  const StorageForm form =
      storage::IsClientsForm(damaged.form) ? StorageForm::kSealed : damaged.form;
  const absl::StatusOr<bool> healed =
      resources_.catalog.Run([&](storage::Transaction& transaction) {
        return transaction.HealVersion(damaged.version_id, now.front().content, form,
                                       copy->content);
      });
  if (!healed.ok()) {
    copy->chunks.GiveUp(copy->content, healed.status());
    return healed.status();
  }
  copy->chunks.Keep();
  resources_.blob_was_dropped();
  LOG_IF(INFO, *healed) << "version " << damaged.version_id << " of "
                        << NameToText(damaged.file_name) << " of client "
                        << ToUuid(damaged.client_id) << " is healed: version "
                        << good.version.version_id << " of " << NameToText(good.version.file_name)
                        << " of client " << ToUuid(good.version.client_id) << " has the same bytes";
  // If it was not damaged any more, it needs nothing either.
  return true;
}

absl::StatusOr<std::optional<StoredAnew>> Healing::Copy(const Version& damaged,
                                                        const StoredVersion& good,
                                                        const std::stop_token& token) {
  absl::Status unread;
  const StorageForm form =
      storage::IsClientsForm(damaged.form) ? StorageForm::kSealed : damaged.form;
  absl::StatusOr<StoredAnew> copied =
      StoreAnew(resources_, {places_, good, pace_, token, unread}, damaged, form);
  if (copied.ok()) return *std::move(copied);
  // Another may do; or this one in the next cycle.
  if (token.stop_requested() || !unread.ok()) return std::nullopt;
  return copied.status();
}

}  // namespace backup::jobs
