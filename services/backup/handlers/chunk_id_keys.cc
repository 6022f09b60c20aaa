#include "services/backup/handlers/chunk_id_keys.h"

#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace backup::handlers {
namespace {

constexpr int kPage = 1000;

}  // namespace

absl::StatusOr<bool> ChunkIdKeys::MadeOf(const ChunkId& id, storage::StorageForm form,
                                         absl::string_view digest) {
  if (TryKey(last_key_, id, digest) || TryKey(keys_.IdKey(form), id, digest)) return true;
  ClientId after;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     catalog_.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListClients(after, kPage);
                     }));
    if (page.empty()) break;
    for (const storage::Client& client : page) {
      if (TryKey(keys_.IdKey(form, client.id), id, digest)) return true;
    }
    after = page.back().id;
  }
  storage::TrashPosition<ClientId> behind;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     catalog_.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListTrashedClients(behind, kPage);
                     }));
    if (page.empty()) return false;
    for (const storage::Client& client : page) {
      if (TryKey(keys_.IdKey(form, client.id), id, digest)) return true;
    }
    behind = {*page.back().delete_time, page.back().id};
  }
}

absl::StatusOr<ChunkIdKeys::Use> ChunkIdKeys::UseOf(const storage::StoredChunk& chunk) {
  return catalog_.Read([&](storage::Snapshot& snapshot) -> absl::StatusOr<Use> {
    ASSIGN_OR_RETURN(const std::vector<storage::StoredChunk> now,
                     snapshot.ListPackChunks(chunk.pack, chunk.index - 1, /*limit=*/1));
    if (now.empty() || now.front().number != chunk.number || now.front().refs <= 0)
      return Use::kNone;
    ASSIGN_OR_RETURN(const storage::Counts counts, snapshot.Count());
    return counts.dropped_recipes > 0 ? Use::kUnknown : Use::kNeeded;
  });
}

bool ChunkIdKeys::TryKey(content::ChunkIdKey key, const ChunkId& id, absl::string_view digest) {
  if (content::IdInScope(key.scope_key, digest) != id) return false;
  last_key_ = std::move(key);
  return true;
}

}  // namespace backup::handlers
