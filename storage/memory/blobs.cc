#include <algorithm>

#include "storage/memory/memory_transaction.h"

namespace backup::storage {

absl::StatusOr<BlobUse> MemoryTransaction::FindBlob(const BlobId& id) {
  if (state_.pending_blobs.contains(id)) return BlobUse::kPending;
  if (state_.dropped_blobs.contains(id)) return BlobUse::kDropped;
  const bool referenced =
      std::any_of(state_.versions.begin(), state_.versions.end(),
                  [&](const auto& entry) { return entry.second.stored.content == Content(id); }) ||
      std::any_of(state_.packs.begin(), state_.packs.end(),
                  [&](const auto& entry) { return entry.second.blob_id == id; });
  if (referenced) return BlobUse::kReferenced;
  return state_.set_aside_blobs.contains(id) ? BlobUse::kSetAside : BlobUse::kUnknown;
}

absl::StatusOr<std::vector<BlobId>> MemoryTransaction::ListDroppedBlobs(const BlobId& after,
                                                                        int limit) {
  std::vector<BlobId> blobs;
  for (auto it = state_.dropped_blobs.upper_bound(after);
       it != state_.dropped_blobs.end() && std::ssize(blobs) < limit; ++it) {
    blobs.push_back(*it);
  }
  return blobs;
}

absl::Status MemoryTransaction::AddPendingBlobs(const std::vector<BlobId>& ids,
                                                const BlobLease& lease) {
  for (const BlobId& id : ids) state_.pending_blobs[id] = lease;
  return absl::OkStatus();
}

absl::Status MemoryTransaction::RenewLeases(const BlobLease& lease) {
  for (auto& [id, pending] : state_.pending_blobs) {
    if (pending.owner == lease.owner) pending = lease;
  }
  for (auto& [id, pending] : state_.pending_recipes) {
    if (pending.owner == lease.owner) pending = lease;
  }
  const auto epoch = state_.owner_epochs.find(lease.owner);
  if (epoch != state_.owner_epochs.end()) epoch->second.lease_end = lease.end;
  return absl::OkStatus();
}

absl::Status MemoryTransaction::DropPendingBlob(const BlobId& id) {
  const BlobUse use = FindBlob(id).value();
  if (use == BlobUse::kReferenced || use == BlobUse::kSetAside) return absl::OkStatus();
  state_.pending_blobs.erase(id);
  state_.dropped_blobs.insert(id);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> MemoryTransaction::DropPendingBlobsOfOthers(const OwnerId& self,
                                                                    absl::Time ended_before,
                                                                    int limit) {
  const auto has_ended = [&](const OwnerId& owner, absl::Time end) {
    return owner != self && (ended_before == absl::InfiniteFuture() || end < ended_before);
  };
  int64_t dropped = 0;
  const auto drop = [&](auto& pending, auto& to) {
    for (auto it = pending.begin(); it != pending.end() && dropped < limit;) {
      const auto current = it++;
      if (!has_ended(current->second.owner, current->second.end)) continue;
      to.insert(current->first);
      pending.erase(current);
      ++dropped;
    }
  };
  drop(state_.pending_blobs, state_.dropped_blobs);
  drop(state_.pending_recipes, state_.dropped_recipes);
  std::erase_if(state_.owner_epochs,
                [&](const auto& entry) { return has_ended(entry.first, entry.second.lease_end); });
  return dropped;
}

absl::Status MemoryTransaction::ForgetPending() {
  state_.pending_blobs.clear();
  for (const auto& [id, lease] : state_.pending_recipes) state_.dropped_recipes.insert(id);
  state_.pending_recipes.clear();
  state_.owner_epochs.clear();
  return absl::OkStatus();
}

absl::Status MemoryTransaction::ForgetDroppedBlobs(const std::vector<BlobId>& ids) {
  for (const BlobId& id : ids) state_.dropped_blobs.erase(id);
  return absl::OkStatus();
}

}  // namespace backup::storage
