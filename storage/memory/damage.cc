#include <variant>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {

absl::Status MemoryTransaction::MarkDamaged(int64_t chunk, int64_t pack) {
  const auto found = state_.chunks.find(chunk);
  if (found == state_.chunks.end() || found->second.pack != pack || found->second.is_damaged)
    return absl::OkStatus();
  found->second.is_damaged = true;
  ++state_.damage_epoch;
  return absl::OkStatus();
}

absl::Status MemoryTransaction::MarkWhole(int64_t chunk, int64_t pack) {
  const auto found = state_.chunks.find(chunk);
  if (found == state_.chunks.end() || found->second.pack != pack || !found->second.is_damaged)
    return absl::OkStatus();
  found->second.is_damaged = false;
  if (found->second.refs > 0) ++state_.healed_chunks;
  return absl::OkStatus();
}

MemoryState::KeptVersion* MemoryTransaction::VersionWith(int64_t version_id,
                                                         const Content& content) {
  const auto found = state_.versions.find(version_id);
  if (found == state_.versions.end() || std::holds_alternative<std::monostate>(content) ||
      found->second.stored.content != content)
    return nullptr;
  return &found->second;
}

absl::StatusOr<bool> MemoryTransaction::MarkVersionDamaged(int64_t version_id,
                                                           const Content& content) {
  MemoryState::KeptVersion* const kept = VersionWith(version_id, content);
  if (kept == nullptr || kept->is_marked) return false;
  kept->is_marked = true;
  if (const auto* blob = std::get_if<BlobId>(&content)) state_.set_aside_blobs.insert(*blob);
  return true;
}

absl::StatusOr<bool> MemoryTransaction::MarkVersionWhole(int64_t version_id,
                                                         const Content& content) {
  MemoryState::KeptVersion* const kept = VersionWith(version_id, content);
  if (kept == nullptr || !kept->is_marked) return false;
  kept->is_marked = false;
  ++state_.healed_versions;
  if (const auto* blob = std::get_if<BlobId>(&content)) state_.set_aside_blobs.erase(*blob);
  return true;
}

absl::StatusOr<bool> MemoryTransaction::HealVersion(int64_t version_id, const Content& old,
                                                    StorageForm form, const NewContent& content) {
  const auto found = state_.versions.find(version_id);
  const auto* chunks = std::get_if<ChunkList>(&old);
  const bool has_recipe = chunks != nullptr && chunks->recipe != 0;
  const bool is_damaged =
      VersionWith(version_id, old) != nullptr && (has_recipe || IsDamaged(found->second));
  if (!is_damaged) RETURN_IF_ERROR(DropBrought(content));
  if (!is_damaged) return false;
  const bool was_marked = found->second.is_marked;
  if (!PutInPlace(found->second, form, content))
    return MakeError(Reason::kBackendDown, "it took too long to store");
  if (was_marked) ++state_.healed_versions;
  return true;
}

absl::StatusOr<int64_t> MemoryTransaction::DiscardSetAside(int limit) {
  int64_t discarded = 0;
  for (auto it = state_.set_aside_blobs.begin();
       it != state_.set_aside_blobs.end() && discarded < limit;) {
    const BlobId id = *it++;
    if (FindBlob(id).value() != BlobUse::kSetAside) continue;
    state_.set_aside_blobs.erase(id);
    state_.dropped_blobs.insert(id);
    ++discarded;
  }
  return discarded;
}

}  // namespace backup::storage
