#include <iterator>

#include "storage/memory/memory_transaction.h"

namespace backup::storage {
namespace {

bool Passes(const AuditFilter& filter, const AuditEntry& entry) {
  return entry.time >= filter.since && entry.time < filter.until &&
         (!filter.client || entry.client == filter.client) &&
         entry.actor.find(filter.actor) != std::string::npos &&
         (filter.action.empty() || entry.action == filter.action);
}

}  // namespace

absl::StatusOr<std::vector<AuditEntry>> MemoryTransaction::ListAuditEntries(
    int64_t after, const AuditFilter& filter, int limit) {
  std::vector<AuditEntry> entries;
  for (auto next = state_.audit_entries.upper_bound(after);
       next != state_.audit_entries.end() && std::ssize(entries) < limit; ++next) {
    if (Passes(filter, next->second)) entries.push_back(next->second);
  }
  return entries;
}

absl::StatusOr<std::optional<AuditEntry>> MemoryTransaction::FindNewestAuditEntry() {
  if (state_.audit_entries.empty()) return std::nullopt;
  return state_.audit_entries.rbegin()->second;
}

absl::Status MemoryTransaction::AppendAuditEntry(const AuditEntry& entry, AuditRoom) {
  state_.audit_entries.emplace(entry.number, entry);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> MemoryTransaction::DropAuditEntries(int64_t last, int limit) {
  int64_t dropped = 0;
  while (dropped < limit && !state_.audit_entries.empty() &&
         state_.audit_entries.begin()->first <= last) {
    state_.audit_entries.erase(state_.audit_entries.begin());
    ++dropped;
  }
  return dropped;
}

}  // namespace backup::storage
