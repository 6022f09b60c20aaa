#include "storage/catalog/retention.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {

absl::StatusOr<std::optional<RetentionPolicy>> MemoryTransaction::FindPolicy(
    const PolicyScope& scope) {
  const auto found = state_.policies.find(scope);
  if (found == state_.policies.end()) return std::nullopt;
  return RetentionPolicy{scope, found->second};
}

absl::StatusOr<std::vector<RetentionPolicy>> MemoryTransaction::ListPolicies(
    const std::optional<PolicyScope>& after, int limit) {
  std::vector<RetentionPolicy> policies;
  for (auto it = after ? state_.policies.upper_bound(*after) : state_.policies.begin();
       it != state_.policies.end() && std::ssize(policies) < limit; ++it) {
    policies.push_back({it->first, it->second});
  }
  return policies;
}

absl::StatusOr<std::vector<RetentionPolicy>> MemoryTransaction::ListPoliciesFor(
    const ClientId& client) {
  std::vector<RetentionPolicy> policies;
  for (const auto& [scope, rules] : state_.policies) {
    if (scope.client == ClientId() || scope.client == client) policies.push_back({scope, rules});
  }
  return policies;
}

absl::StatusOr<AgesPage> MemoryTransaction::ListAges(const AgesPlace& after, int limit) {
  AgesPage page;
  const std::pair<ClientId, std::string> first(after.client, after.file_name);
  int left = limit;
  for (auto file = state_.files.lower_bound(first); file != state_.files.end(); ++file) {
    const bool is_first = file->first == first;
    if (is_first && after.version_id == 0) continue;
    if (state_.clients.at(file->first.first).delete_time) continue;
    if (left <= 0) return page;
    FileAges ages{file->first.first, file->first.second, {}};
    const std::set<int64_t>& ids = file->second.versions;
    auto id = std::make_reverse_iterator(is_first ? ids.lower_bound(after.version_id) : ids.end());
    for (; id != ids.rend() && std::ssize(ages.versions) < left; ++id) {
      const MemoryState::KeptVersion& kept = state_.versions.at(*id);
      const Version& version = kept.stored.version;
      if (version.delete_time) continue;
      const bool has_own_key = !std::holds_alternative<ChunkList>(kept.stored.content) &&
                               version.form != StorageForm::kPlain;
      ages.versions.push_back({*id, version.state, IsDamaged(kept), has_own_key,
                               version.receive_time, version.retain_until, version.arrive_time});
    }
    const bool is_cut = std::ssize(ages.versions) == left;
    page.next =
        AgesPlace{ages.client, ages.file_name, is_cut ? ages.versions.back().version_id : 0};
    left -= 1 + static_cast<int>(ages.versions.size());
    if (!ages.versions.empty()) page.files.push_back(std::move(ages));
  }
  if (left > 0) page.next.reset();
  return page;
}

absl::StatusOr<std::optional<absl::Time>> MemoryTransaction::FileRetainedUntil(
    const ClientId& client, const std::string& file_name) {
  ASSIGN_OR_RETURN(const MemoryState::StoredFile* const file, RequireFile(client, file_name));
  std::optional<absl::Time> latest;
  for (const int64_t id : file->versions)
    latest = std::max(latest, state_.versions.at(id).stored.version.retain_until);
  return latest;
}

absl::Status MemoryTransaction::SetPolicy(const RetentionPolicy& policy) {
  if (policy.scope.client != ClientId()) RETURN_IF_ERROR(Require(policy.scope.client).status());
  state_.policies[policy.scope] = policy.rules;
  return absl::OkStatus();
}

absl::StatusOr<bool> MemoryTransaction::DeletePolicy(const PolicyScope& scope) {
  return state_.policies.erase(scope) > 0;
}

bool MemoryTransaction::IsReadable(int64_t version_id, const Version& than) const {
  const auto found = state_.versions.find(version_id);
  if (found == state_.versions.end() || version_id <= than.version_id) return false;
  const Version& version = found->second.stored.version;
  return version.client_id == than.client_id && version.file_name == than.file_name &&
         version.state == VersionState::kVerified && !version.delete_time &&
         !IsDamaged(found->second);
}

absl::StatusOr<int64_t> MemoryTransaction::ExpireVersions(const std::vector<Expiring>& expiring,
                                                          const Deletion& deletion) {
  if (expiring.size() > static_cast<size_t>(kMaxDeletedVersions))
    return absl::InvalidArgumentError("too many versions at once");
  int64_t expired = 0;
  for (const auto& [id, state, readable] : expiring) {
    const auto found = state_.versions.find(id);
    if (found == state_.versions.end() || found->second.stored.version.state != state) continue;
    const Version& version = found->second.stored.version;
    if (version.retain_until && *version.retain_until > RemovalTime(deletion.time)) continue;
    if (state_.clients.at(version.client_id).delete_time) continue;
    if (state == VersionState::kVerified && !IsReadable(readable, version)) continue;
    const bool was_given_up = state == VersionState::kAbandoned;
    expired += Delete(id, {deletion.time, deletion.for_good || was_given_up});
  }
  return expired;
}

absl::Status MemoryTransaction::SaveClockNote(const ClockNote& note) {
  state_.clock_note = note;
  return absl::OkStatus();
}

}  // namespace backup::storage
