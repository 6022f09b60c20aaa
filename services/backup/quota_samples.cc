#include "services/backup/quota_samples.h"

#include <optional>

#include "base/ids.h"
#include "base/status_macros.h"
#include "storage/catalog/quota.h"

namespace backup {
namespace {

using storage::QuotaKind;
using storage::QuotaLimits;

constexpr MetricName kClientQuotaBytes{"backup_client_quota_bytes",
                                       "Limits of what backup_client_bytes tells"};
constexpr MetricName kClientQuotaFiles{"backup_client_quota_files",
                                       "Limits of what backup_client_files tells"};
constexpr MetricName kClientFiles{"backup_client_files",
                                  "Files of a client that is held to a quota"};
constexpr MetricName kStoreQuotaBytes{"backup_store_quota_bytes",
                                      "Limits of what backup_store_used_bytes tells"};
constexpr MetricName kStoreQuotaFiles{"backup_store_quota_files",
                                      "Limits of what backup_store_used_files tells"};
constexpr MetricName kStoreBytes{"backup_store_used_bytes",
                                 "Plaintext bytes of all versions, those in the trash too"};
constexpr MetricName kStoreFiles{"backup_store_used_files",
                                 "Files of all clients, those in the trash too"};
constexpr MetricName kBeyond{"backup_clients_beyond_soft_limits",
                             "Clients that use more than a soft limit that they are held to"};

// Those of the two that there are.
void AddLimits(const MetricName& name, const Labels& labels, int64_t soft, int64_t hard,
               std::vector<Sample>& samples) {
  const auto add = [&](const char* limit, int64_t value) {
    if (value == 0) return;
    Labels with_limit = labels;
    with_limit.emplace("limit", limit);
    samples.push_back({name, with_limit, static_cast<double>(value)});
  };
  add("soft", soft);
  add("hard", hard);
}

}  // namespace

bool SampleQuotas(storage::Catalog& catalog, std::vector<Sample>& samples) {
  bool has_any = false;
  std::optional<QuotaLimits> of_store;
  storage::Counts counts;
  int64_t beyond = 0;
  const absl::Status read = catalog.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<storage::Quota> any, snapshot.ListQuotas(std::nullopt, 1));
    has_any = !any.empty();
    ASSIGN_OR_RETURN(of_store, snapshot.FindQuota(storage::QuotaScope()));
    ASSIGN_OR_RETURN(counts, snapshot.Count());
    ASSIGN_OR_RETURN(beyond, snapshot.CountClientsBeyondSoftLimits());
    return absl::OkStatus();
  });
  if (!read.ok()) return false;
  samples.push_back({kBeyond, {}, static_cast<double>(beyond)});
  if (!of_store) return has_any;
  samples.push_back(
      {kStoreBytes, {}, static_cast<double>(counts.stored_bytes + counts.trash_bytes)});
  samples.push_back({kStoreFiles, {}, static_cast<double>(counts.files + counts.trash_files)});
  AddLimits(kStoreQuotaBytes, {}, of_store->soft_bytes, of_store->hard_bytes, samples);
  AddLimits(kStoreQuotaFiles, {}, of_store->soft_files, of_store->hard_files, samples);
  return has_any;
}

void SampleQuotasOf(storage::Catalog& catalog, const std::vector<storage::Client>& clients,
                    std::vector<Sample>& samples) {
  const auto add = [&](const storage::Client& client, const QuotaLimits& limits) {
    const Labels labels = {{"client", ToUuid(client.id)}};
    AddLimits(kClientQuotaBytes, labels, limits.soft_bytes, limits.hard_bytes, samples);
    AddLimits(kClientQuotaFiles, labels, limits.soft_files, limits.hard_files, samples);
    samples.push_back({kClientFiles, labels, static_cast<double>(client.file_count)});
  };
  // What cannot be read is not told.
  catalog
      .Read([&](storage::Snapshot& snapshot) -> absl::Status {
        ASSIGN_OR_RETURN(const std::optional<QuotaLimits> every,
                         snapshot.FindQuota({ClientId(), QuotaKind::kEveryClient}));
        for (const storage::Client& client : clients) {
          ASSIGN_OR_RETURN(const std::optional<QuotaLimits> own,
                           snapshot.FindQuota({client.id, QuotaKind::kClient}));
          if (own || every) add(client, own ? *own : *every);
        }
        return absl::OkStatus();
      })
      .IgnoreError();
}

}  // namespace backup
