#include <iterator>

#include "storage/memory/memory_transaction.h"

namespace backup::storage {

absl::StatusOr<std::optional<Ban>> MemoryTransaction::FindBan(const std::string& network) {
  const auto found = state_.bans.find(network);
  if (found == state_.bans.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::vector<Ban>> MemoryTransaction::ListBans(absl::Time time,
                                                             const std::string& after, int limit) {
  std::vector<Ban> bans;
  for (auto next = state_.bans.upper_bound(after);
       next != state_.bans.end() && std::ssize(bans) < limit; ++next) {
    if (next->second.end_time > time) bans.push_back(next->second);
  }
  return bans;
}

absl::Status MemoryTransaction::SetBan(const Ban& ban) {
  state_.bans.insert_or_assign(ban.network, ban);
  return absl::OkStatus();
}

absl::StatusOr<bool> MemoryTransaction::DeleteBan(const std::string& network) {
  return state_.bans.erase(network) > 0;
}

absl::StatusOr<int64_t> MemoryTransaction::DropEndedBans(absl::Time time) {
  return static_cast<int64_t>(
      std::erase_if(state_.bans, [&](const auto& ban) { return ban.second.end_time <= time; }));
}

}  // namespace backup::storage
