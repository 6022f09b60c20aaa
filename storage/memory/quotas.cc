#include <utility>

#include "base/status_macros.h"
#include "storage/catalog/quota.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {
namespace {

bool IsBeyond(int64_t limit, int64_t used) { return limit > 0 && used > limit; }

}  // namespace

absl::StatusOr<std::optional<QuotaLimits>> MemoryTransaction::FindQuota(const QuotaScope& scope) {
  const auto found = state_.quotas.find(scope);
  if (found == state_.quotas.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::vector<Quota>> MemoryTransaction::ListQuotas(
    const std::optional<QuotaScope>& after, int limit) {
  std::vector<Quota> quotas;
  for (auto it = after ? state_.quotas.upper_bound(*after) : state_.quotas.begin();
       it != state_.quotas.end() && std::ssize(quotas) < limit; ++it) {
    const auto& [scope, limits] = *it;
    if (scope.kind == QuotaKind::kClient && state_.clients.at(scope.client).delete_time) continue;
    quotas.push_back({scope, limits});
  }
  return quotas;
}

const QuotaLimits* MemoryTransaction::LimitsOf(const ClientId& client) const {
  auto found = state_.quotas.find({client, QuotaKind::kClient});
  if (found == state_.quotas.end())
    found = state_.quotas.find({ClientId(), QuotaKind::kEveryClient});
  return found == state_.quotas.end() ? nullptr : &found->second;
}

absl::StatusOr<std::vector<QuotaUse>> MemoryTransaction::ListQuotasFor(
    const ClientId& client, const std::string& file_name) {
  std::vector<QuotaUse> uses;
  const auto owner = state_.clients.find(client);
  if (owner == state_.clients.end() || owner->second.delete_time) return uses;
  const auto file = state_.files.find({client, file_name});
  const bool has_row = file != state_.files.end();
  if (const QuotaLimits* const limits = LimitsOf(client)) {
    uses.push_back({{client, QuotaKind::kClient},
                    *limits,
                    {owner->second.stored_bytes, owner->second.file_count},
                    !has_row || !HasVersions(file->second)});
  }
  const QuotaScope store;
  if (const auto limits = state_.quotas.find(store); limits != state_.quotas.end()) {
    ASSIGN_OR_RETURN(const Counts counts, Count());
    uses.push_back({store,
                    limits->second,
                    {counts.stored_bytes + counts.trash_bytes, counts.files + counts.trash_files},
                    !has_row});
  }
  return uses;
}

absl::StatusOr<std::optional<Client>> MemoryTransaction::FindClientBeyond(
    const QuotaLimits& limits) {
  for (const auto& [id, client] : state_.clients) {
    if (client.delete_time || state_.quotas.contains({id, QuotaKind::kClient})) continue;
    if (IsBeyond(limits.hard_bytes, client.stored_bytes) ||
        IsBeyond(limits.hard_files, client.file_count)) {
      return client;
    }
  }
  return std::nullopt;
}

absl::StatusOr<int64_t> MemoryTransaction::CountClientsBeyondSoftLimits() {
  int64_t beyond = 0;
  for (const auto& [id, client] : state_.clients) {
    const QuotaLimits* const limits = LimitsOf(id);
    if (client.delete_time || limits == nullptr) continue;
    beyond += IsBeyond(limits->soft_bytes, client.stored_bytes) ||
              IsBeyond(limits->soft_files, client.file_count);
  }
  return beyond;
}

absl::Status MemoryTransaction::SetQuota(const Quota& quota) {
  if (quota.scope.kind == QuotaKind::kClient) RETURN_IF_ERROR(Require(quota.scope.client).status());
  state_.quotas[quota.scope] = quota.limits;
  return absl::OkStatus();
}

absl::StatusOr<bool> MemoryTransaction::DeleteQuota(const QuotaScope& scope) {
  return state_.quotas.erase(scope) > 0;
}

}  // namespace backup::storage
