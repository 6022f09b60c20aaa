#include "services/backup/handlers/trash.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::handlers {
namespace {

// `now`, or the infinite past while the time is not trusted.
absl::StatusOr<absl::Time> RemovalTime(storage::Catalog& catalog, absl::Time now) {
  ASSIGN_OR_RETURN(
      const std::optional<storage::ClockNote> note,
      catalog.Read([](storage::Snapshot& snapshot) { return snapshot.FindClockNote(); }));
  return note && note->distrusted_since ? absl::InfinitePast() : now;
}

}  // namespace

storage::Deletion DeletionNow(const Clock& clock, const TrashPolicy& policy) {
  return {clock.Now(), policy.for_good()};
}

absl::StatusOr<Purge::Counts> Purge::Step(absl::Time deleted_by, absl::Time now, int limit) {
  limit = std::clamp(limit, 1, storage::Transaction::kMaxDeletedVersions);
  ASSIGN_OR_RETURN(now, RemovalTime(catalog_, now));
  return versions_are_done_ ? PurgeClient(deleted_by, now, limit)
                            : PurgeVersions(deleted_by, now, limit);
}

absl::StatusOr<Purge::Counts> Purge::PurgeVersions(absl::Time deleted_by, absl::Time now,
                                                   int limit) {
  ASSIGN_OR_RETURN(const std::vector<storage::Version> oldest,
                   catalog_.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListTrashedVersions(filter_, version_, limit);
                   }));
  std::vector<int64_t> due;
  versions_are_done_ = std::ssize(oldest) < limit;
  for (const storage::Version& version : oldest) {
    if (*version.delete_time > deleted_by) {
      versions_are_done_ = true;
      break;
    }
    if (!version.retain_until || *version.retain_until <= now) due.push_back(version.version_id);
    version_ = {*version.delete_time, version.version_id};
  }
  if (due.empty()) return Counts();
  ASSIGN_OR_RETURN(const int64_t purged, catalog_.Run([&](storage::Transaction& transaction) {
    return transaction.PurgeVersions(due, deleted_by);
  }));
  return Counts{purged, 0};
}

absl::StatusOr<std::optional<storage::Client>> Purge::NextClient(absl::Time deleted_by) {
  if (client_on_the_way_) return client_on_the_way_;
  ASSIGN_OR_RETURN(
      const std::vector<storage::Client> oldest,
      catalog_.Read(
          [&](storage::Snapshot& snapshot) -> absl::StatusOr<std::vector<storage::Client>> {
            if (!filter_.client) return snapshot.ListTrashedClients(client_, 1);
            const auto client = snapshot.FindTrashedClient(*filter_.client);
            if (client.ok()) return std::vector<storage::Client>{*client};
            if (ReasonOf(client.status()) != Reason::kClientNotFound) return client.status();
            return std::vector<storage::Client>();
          }));
  if (oldest.empty() || *oldest.front().delete_time > deleted_by) return std::nullopt;
  return oldest.front();
}

absl::StatusOr<Purge::Counts> Purge::PurgeClient(absl::Time deleted_by, absl::Time now, int limit) {
  ASSIGN_OR_RETURN(const std::optional<storage::Client> client, NextClient(deleted_by));
  is_done_ = !client;
  if (is_done_) return Counts();
  storage::PurgedClient purged;
  if (!client->retain_until || *client->retain_until <= now) {
    ASSIGN_OR_RETURN(purged, catalog_.Run([&](storage::Transaction& transaction) {
      return transaction.PurgeClient(client->id, deleted_by, limit);
    }));
  }
  // Gone, taken back meanwhile, or to be kept.
  const bool is_over = purged.is_gone || purged.versions == 0;
  client_on_the_way_ = is_over ? std::nullopt : client;
  if (is_over) client_ = {*client->delete_time, client->id};
  is_done_ = is_over && filter_.client.has_value();
  return Counts{purged.versions, purged.is_gone ? 1 : 0};
}

}  // namespace backup::handlers
