#include "services/backup/state_samples.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "services/backup/free_space.h"
#include "services/backup/handlers/growth.h"
#include "services/backup/handlers/key_retirement.h"
#include "services/backup/handlers/scrub_state.h"
#include "services/backup/limits.h"
#include "services/backup/quota_samples.h"

namespace backup {
namespace {

constexpr MetricName kLastSuccess{
    "backup_client_last_success_timestamp_seconds",
    "When a file of the client was last verified; 0 if never, or if that "
    "is in the future"};
constexpr MetricName kRegistered{"backup_client_registered_timestamp_seconds",
                                 "When the client registered; 0 if in the future"};
constexpr MetricName kLastAttempt{"backup_client_last_attempt_timestamp_seconds",
                                  "The client's last request; 0 if in the future"};
constexpr MetricName kClientBytes{"backup_client_bytes",
                                  "Plaintext bytes of the client's versions"};
constexpr MetricName kClientKept{"backup_client_kept_bytes",
                                 "What the client's versions made the store grow by"};
constexpr MetricName kClientResends{"backup_client_resends_total",
                                    "Files that the client found damaged, ever"};
constexpr MetricName kStale{"backup_clients_stale",
                            "Clients without a verified file for longer than the threshold"};
constexpr MetricName kInFuture{"backup_clients_in_future",
                               "Clients that were last verified, or else registered, in the "
                               "future: the clock was or is wrong; they count as stale"};
constexpr MetricName kDropped{"backup_metrics_dropped_series",
                              "Clients without series of their own (--metrics_max_clients)"};
constexpr MetricName kStateUp{"backup_db_up", "1 if the catalog can be read"};
constexpr MetricName kCatalogDamaged{
    "backup_db_damaged", "1 since damage was met in the catalog: nothing is written any more"};
constexpr MetricName kCheckFailed{
    "backup_db_check_failed", "1 if the last check of the catalog for damage could not be done"};
constexpr MetricName kClients{"backup_clients", "Known clients"};
constexpr MetricName kVersions{"backup_versions", "Versions, by state"};
constexpr MetricName kStored{"backup_stored_bytes",
                             "Plaintext of all versions, what is kept of it, and disk used"};
constexpr MetricName kTrash{"backup_trash", "What is in the trash"};
constexpr MetricName kPacks{"backup_packs", "Blobs that hold content of many versions"};
constexpr MetricName kPolicies{"backup_retention_policies",
                               "Retention policies; without any no verified version is removed"};
constexpr MetricName kBans{"backup_bans",
                           "Bans in force: bridges turn away who connects from there"};
constexpr MetricName kRetentionStopped{"backup_retention_stopped",
                                       "1 if nothing is removed because of its age, as the "
                                       "machine's time is not trusted"};
constexpr MetricName kUnmoved{"backup_unmoved_versions",
                              "Versions whose content an older program stored whole"};
constexpr MetricName kFree{"backup_storage_free_bytes", "Room left where the data is"};
constexpr MetricName kFreeInodes{"backup_storage_free_inodes",
                                 "Files that can still be made where the data is"};
constexpr MetricName kReadOnly{"backup_storage_read_only",
                               "1 if the file system is mounted read-only"};
constexpr MetricName kCatalogSize{"backup_db_size_bytes", "Size of the catalog"};
constexpr MetricName kSnapshots{"backup_snapshots", "Snapshots of the state that the store has"};
constexpr MetricName kNewestSnapshot{"backup_snapshot_newest_timestamp_seconds",
                                     "When the newest of them was taken; 0 if there is none"};
constexpr MetricName kGrowth{"backup_growth_bytes_per_day",
                             "How fast what is kept grew, by window of time"};
constexpr MetricName kUntilFull{"backup_storage_full_in_seconds",
                                "How long the room lasts if the disk fills as in the last 7 days"};
constexpr MetricName kWalSize{"backup_db_wal_bytes", "Size of the catalog's log"};

constexpr MetricName kDamaged{"backup_damaged",
                              "What is known to be damaged now: chunks that versions have, and "
                              "versions that are so by themselves"};
constexpr MetricName kSetAside{"backup_set_aside_blobs",
                               "Blobs that were found damaged, which no job deletes"};
constexpr MetricName kHealed{"backup_healed_total", "What was damaged and is not any more, ever"};
constexpr MetricName kScrubProgress{"backup_scrub_progress_ratio",
                                    "How much of the cycle of the job scrub is done; 1 if none is "
                                    "under way"};
constexpr MetricName kScrubEnd{"backup_scrub_last_complete_timestamp_seconds",
                               "When the job scrub had last read everything; 0 if never"};
constexpr MetricName kScrubDue{"backup_scrub_due_timestamp_seconds",
                               "By when everything should have been read again; 0 if nothing is "
                               "due"};
constexpr MetricName kOldKeys{"backup_key_generations_old",
                              "Generations of keys that an old master key wraps"};
constexpr MetricName kKeyFile{"backup_key_file_complete",
                              "1 if the file of generations of keys has all of them"};
constexpr MetricName kRetiring{"backup_key_generations_retiring",
                               "Generations of keys that are to go"};
constexpr MetricName kRetiringLeft{"backup_key_retiring_left",
                                   "What could not be sealed anew for that, in this round or the "
                                   "last one"};
constexpr MetricName kRetiringProgress{"backup_key_retiring_progress_timestamp_seconds",
                                       "When the job retire last came further with them; 0 if "
                                       "none are to go"};
constexpr MetricName kScrubPaused{"backup_scrub_paused", "1 if the job scrub was told to pause"};

constexpr std::pair<const char*, absl::Duration> kStaleThresholds[] = {{"36h", absl::Hours(36)},
                                                                       {"168h", absl::Hours(168)}};
constexpr int kPageSize = 1000;

// A time in the future would make every difference to it negative, and each alert silent.
double PastTime(absl::Time time, absl::Time now) {
  return storage::IsInFuture(time, now) ? 0 : SecondsSinceEpoch(time);
}

void SampleClients(storage::Catalog& catalog, int64_t max_clients, int64_t clients, absl::Time now,
                   std::vector<Sample>& samples) {
  const bool has_quotas = SampleQuotas(catalog, samples);
  int64_t shown = 0;
  ClientId after;
  while (shown < max_clients) {
    const int limit = static_cast<int>(std::min<int64_t>(kPageSize, max_clients - shown));
    const auto page = catalog.Read(
        [&](storage::Snapshot& snapshot) { return snapshot.ListClients(after, limit); });
    if (!page.ok() || page->empty()) break;
    for (const storage::Client& client : *page) {
      const Labels labels = {{"client", ToUuid(client.id)}};
      const auto verified = client.last_verified_time;
      samples.push_back({kLastSuccess, labels, verified ? PastTime(*verified, now) : 0});
      samples.push_back({kRegistered, labels, PastTime(client.create_time, now)});
      samples.push_back({kLastAttempt, labels, PastTime(client.last_seen_time, now)});
      samples.push_back({kClientBytes, labels, static_cast<double>(client.stored_bytes)});
      samples.push_back({kClientKept, labels, static_cast<double>(client.kept_bytes)});
      samples.push_back(
          {kClientResends, labels, static_cast<double>(client.resends), Sample::Kind::kCounter});
    }
    if (has_quotas) SampleQuotasOf(catalog, *page, samples);
    shown += std::ssize(*page);
    after = page->back().id;
  }
  samples.push_back({kDropped, {}, static_cast<double>(std::max<int64_t>(clients - shown, 0))});
}

void SampleScrub(const StateSource& source, std::vector<Sample>& samples) {
  const absl::StatusOr<handlers::ScrubState> state = source.catalog.Read(
      [](storage::Snapshot& snapshot) { return handlers::FindScrub(snapshot); });
  if (!state.ok()) return;
  const absl::Time due = state->Deadline(source.scrub_period);
  const bool is_any_due =
      source.scrub_period > absl::ZeroDuration() && due != absl::InfiniteFuture();
  samples.push_back({kScrubProgress, {}, state->progress()});
  samples.push_back(
      {kScrubEnd, {}, state->last_end_time ? SecondsSinceEpoch(*state->last_end_time) : 0});
  samples.push_back({kScrubDue, {}, is_any_due ? SecondsSinceEpoch(due) : 0});
  samples.push_back({kScrubPaused, {}, state->is_paused ? 1.0 : 0.0});
}

void SampleSnapshots(const handlers::KeptSnapshots& kept, std::vector<Sample>& samples) {
  samples.push_back({kSnapshots, {}, static_cast<double>(kept.count)});
  samples.push_back(
      {kNewestSnapshot, {}, kept.newest_time ? SecondsSinceEpoch(*kept.newest_time) : 0});
  samples.push_back({kStored, {{"kind", "snapshots"}}, static_cast<double>(kept.size_bytes)});
}

// Of a window only if it was measured over all of it.
void SampleGrowth(const StateSource& source, const storage::Counts& counts,
                  std::vector<Sample>& samples) {
  const absl::StatusOr<handlers::Forecast> forecast =
      source.catalog.Read([&](storage::Snapshot& snapshot) {
        return handlers::ForecastGrowth(snapshot, source.removal_time, counts, source.disk);
      });
  if (!forecast.ok()) return;
  for (const handlers::Growth& growth : forecast->growth) {
    if (growth.period < growth.window) continue;
    const std::string window = absl::StrCat(growth.window / absl::Hours(24), "d");
    samples.push_back({kGrowth,
                       {{"kind", "disk"}, {"window", window}},
                       static_cast<double>(growth.disk_bytes_per_day)});
    samples.push_back({kGrowth,
                       {{"kind", "logical"}, {"window", window}},
                       static_cast<double>(growth.stored_bytes_per_day)});
  }
  if (forecast->until_full)
    samples.push_back({kUntilFull, {}, absl::ToDoubleSeconds(*forecast->until_full)});
}

void SampleBans(storage::Catalog& catalog, absl::Time now, std::vector<Sample>& samples) {
  const auto bans = catalog.Read(
      [&](storage::Snapshot& snapshot) { return snapshot.ListBans(now, "", kMaxBans); });
  if (bans.ok()) samples.push_back({kBans, {}, static_cast<double>(bans->size())});
}

void SampleRetirement(const StateSource& source, std::vector<Sample>& samples) {
  const absl::StatusOr<handlers::KeyRetirement> retirement = source.catalog.Read(
      [](storage::Snapshot& snapshot) { return handlers::FindRetirement(snapshot); });
  if (!retirement.ok()) return;
  const bool is_any = !retirement->generations.empty();
  samples.push_back({kRetiring, {}, static_cast<double>(retirement->generations.size())});
  samples.push_back({kRetiringLeft, {}, static_cast<double>(retirement->left)});
  samples.push_back(
      {kRetiringProgress, {}, is_any ? SecondsSinceEpoch(retirement->progress_time) : 0});
}

double FileSize(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<double>(size);
}

}  // namespace

std::vector<Sample> SampleState(const StateSource& source, absl::Time now) {
  std::vector<Sample> samples;
  const auto add = [&](const MetricName& name, const Labels& labels, double value) {
    samples.push_back({name, labels, value});
  };
  const absl::StatusOr<storage::Counts> counts =
      source.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); });
  add(kStateUp, {}, counts.ok() ? 1 : 0);
  add(kCatalogDamaged, {}, source.catalog.damage().ok() ? 0 : 1);
  add(kCheckFailed, {}, source.catalog_check_failed ? 1 : 0);
  const absl::StatusOr<int64_t>& catalog_bytes = source.disk.catalog_bytes;
  if (catalog_bytes.ok()) add(kCatalogSize, {}, static_cast<double>(*catalog_bytes));
  if (!source.catalog.is_elsewhere())
    add(kWalSize, {}, FileSize(absl::StrCat(source.data_dir, "/catalog.db-wal")));
  if (source.disk.snapshots.ok()) SampleSnapshots(*source.disk.snapshots, samples);
  if (counts.ok()) {
    const int64_t settled = counts->verified_versions + counts->abandoned_versions;
    add(kClients, {}, static_cast<double>(counts->clients));
    add(kVersions, {{"state", "received"}}, static_cast<double>(counts->versions - settled));
    add(kVersions, {{"state", "verified"}}, static_cast<double>(counts->verified_versions));
    add(kVersions, {{"state", "abandoned"}}, static_cast<double>(counts->abandoned_versions));
    add(kStored, {{"kind", "logical"}}, static_cast<double>(counts->stored_bytes));
    add(kStored, {{"kind", "trash"}}, static_cast<double>(counts->trash_bytes));
    add(kTrash, {{"kind", "clients"}}, static_cast<double>(counts->trash_clients));
    add(kTrash, {{"kind", "versions"}}, static_cast<double>(counts->trash_versions));
    add(kStored, {{"kind", "unique"}}, static_cast<double>(counts->unique_bytes));
    add(kStored, {{"kind", "compressed"}}, static_cast<double>(counts->compressed_bytes));
    add(kStored, {{"kind", "waiting"}}, static_cast<double>(counts->waiting_bytes));
    add(kStored, {{"kind", "garbage"}},
        static_cast<double>(counts->pack_bytes - counts->pack_live_bytes));
    if (catalog_bytes.ok()) {
      add(kStored, {{"kind", "physical"}},
          static_cast<double>(counts->blob_bytes + counts->pack_bytes + *catalog_bytes));
    }
    add(kPacks, {}, static_cast<double>(counts->packs));
    add(kPolicies, {}, static_cast<double>(counts->policies));
    add(kUnmoved, {}, static_cast<double>(counts->unmoved_versions));
    add(kDamaged, {{"kind", "chunk"}}, static_cast<double>(counts->damaged_chunks));
    add(kDamaged, {{"kind", "version"}}, static_cast<double>(counts->marked_versions));
    add(kSetAside, {}, static_cast<double>(counts->set_aside_blobs));
    const auto add_healed = [&](const char* kind, int64_t count) {
      samples.push_back(
          {kHealed, {{"kind", kind}}, static_cast<double>(count), Sample::Kind::kCounter});
    };
    add_healed("chunk", counts->healed_chunks);
    add_healed("version", counts->healed_versions);
    SampleGrowth(source, *counts, samples);
    SampleScrub(source, samples);
    SampleRetirement(source, samples);
    SampleBans(source.catalog, now, samples);
    SampleClients(source.catalog, source.max_clients, counts->clients, now, samples);
  }
  const auto noted =
      source.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.FindClockNote(); });
  if (noted.ok())
    add(kRetentionStopped, {}, noted->has_value() && (*noted)->distrusted_since ? 1 : 0);
  const auto add_stale = [&](const MetricName& name, const Labels& labels, absl::Time since) {
    const absl::StatusOr<int64_t> stale = source.catalog.Read(
        [&](storage::Snapshot& snapshot) { return snapshot.CountStaleClients(since, now); });
    if (stale.ok()) add(name, labels, static_cast<double>(*stale));
  };
  for (const auto& [threshold, age] : kStaleThresholds)
    add_stale(kStale, {{"threshold", threshold}}, now - age);
  add_stale(kInFuture, {}, absl::InfinitePast());
  if (const absl::StatusOr<FreeSpace> found = LookAt(source.data_dir); found.ok()) {
    add(kFree, {}, static_cast<double>(found->free_bytes));
    add(kFreeInodes, {}, static_cast<double>(found->free_inodes));
    add(kReadOnly, {}, found->read_only ? 1 : 0);
  }
  return samples;
}

std::vector<Sample> SampleKeys(const handlers::KeyKeeper& keeper) {
  const std::string current = keeper.master_keys().current->Fingerprint();
  const std::vector<crypto::KeyGeneration> all = keeper.generations();
  const auto old = std::count_if(all.begin(), all.end(), [&](const crypto::KeyGeneration& each) {
    return each.master_key_fingerprint != current;
  });
  return {{kOldKeys, {}, static_cast<double>(old)}, {kKeyFile, {}, keeper.IsInFile() ? 1.0 : 0.0}};
}

}  // namespace backup
