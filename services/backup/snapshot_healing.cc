#include "services/backup/snapshot_healing.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/piece_buffers.h"
#include "base/status_macros.h"

namespace backup {
namespace {

using storage::Catalog;
using storage::StoredChunk;
using storage::StoredVersion;

constexpr int kPage = 256;

// All steps of a content, and those of its chunks that are in the catalog.
absl::StatusOr<storage::NewChunks> ChunksOf(Catalog& catalog, const StoredVersion& stored) {
  storage::NewChunks chunks;
  const auto& list = std::get<storage::ChunkList>(stored.content);
  int64_t offset = 0;
  while (offset < stored.version.size_bytes) {
    ASSIGN_OR_RETURN(const std::vector<StoredChunk> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListChunks(list, offset, kPage);
                     }));
    if (page.empty()) break;
    for (const StoredChunk& chunk : page) {
      chunks.recipe.push_back(chunk.ref);
      offset += chunk.ref.size_bytes;
      // Without asking whether a pack opens that has the same: what it heals was found damaged.
      if (chunk.pack == 0)
        chunks.inlined.push_back({chunk.ref, chunk.form, chunk.coding, chunk.payload});
    }
  }
  return chunks;
}

// Of what snapshot has, to be put into another catalog; nothing if that has it as it is.
absl::StatusOr<std::optional<storage::NewContent>> Carry(const handlers::StoredPlaces& snapshot,
                                                         const StoredVersion& was, Catalog& to,
                                                         const storage::BlobLease& lease) {
  if (const auto* bytes = std::get_if<std::string>(&was.content))
    return storage::NewContent(*bytes);
  if (!std::holds_alternative<storage::ChunkList>(was.content)) return std::nullopt;
  ASSIGN_OR_RETURN(storage::NewChunks chunks, ChunksOf(snapshot.catalog, was));
  return PutRecipe(to, lease, std::move(chunks));
}

bool AreOfOneContent(const StoredVersion& a, const StoredVersion& b) {
  return a.version.client_id == b.version.client_id && a.version.sha256 == b.version.sha256 &&
         a.version.size_bytes == b.version.size_bytes;
}

}  // namespace

absl::StatusOr<std::optional<StoredVersion>> FindById(Catalog& catalog, int64_t version_id) {
  ASSIGN_OR_RETURN(std::vector<StoredVersion> next, catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.ScanVersions(version_id - 1, /*limit=*/1);
  }));
  if (next.empty() || next.front().version.version_id != version_id) return std::nullopt;
  return std::move(next.front());
}

absl::Status ReadAllOf(const handlers::StoredPlaces& places, const StoredVersion& stored) {
  ASSIGN_OR_RETURN(const std::unique_ptr<content::StoredContent> content,
                   handlers::OpenContent(places, stored));
  PieceBudget budget;
  ASSIGN_OR_RETURN(const std::unique_ptr<LastingSource> bytes, content->ReadWhole(budget));
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, bytes->Read());
    if (piece.empty()) return absl::OkStatus();
  }
}

absl::StatusOr<storage::NewContent> PutRecipe(Catalog& catalog, const storage::BlobLease& lease,
                                              storage::NewChunks chunks) {
  const std::vector<storage::ChunkRef> steps = std::exchange(chunks.recipe, {});
  size_t begin = 0;
  while (steps.size() - begin > storage::Transaction::kMaxRecipePart) {
    chunks.recipe.assign(steps.begin() + begin,
                         steps.begin() + begin + storage::Transaction::kMaxRecipePart);
    ASSIGN_OR_RETURN(chunks.recipe_id, catalog.Run([&](storage::Transaction& transaction) {
      return transaction.AppendRecipe(chunks, lease);
    }));
    begin += storage::Transaction::kMaxRecipePart;
  }
  chunks.recipe.assign(steps.begin() + begin, steps.end());
  return chunks;
}

bool IsInCatalogAlone(Catalog& catalog, const StoredVersion& stored) {
  if (std::holds_alternative<std::string>(stored.content)) return true;
  const auto* const list = std::get_if<storage::ChunkList>(&stored.content);
  if (list == nullptr) return false;
  const auto first = catalog.Read(
      [&](storage::Snapshot& snapshot) { return snapshot.ListChunks(*list, 0, /*limit=*/1); });
  return !first.ok() || (!first->empty() && first->front().pack == 0);
}

absl::StatusOr<bool> HealFromSnapshot(const handlers::StoredPlaces& snapshot,
                                      const handlers::StoredPlaces& now,
                                      const storage::BlobLease& lease, int64_t version_id) {
  const auto was = FindById(snapshot.catalog, version_id);
  ASSIGN_OR_RETURN(const std::optional<StoredVersion> is, FindById(now.catalog, version_id));
  if (!was.ok() || !*was || !is || !AreOfOneContent(**was, *is)) return false;
  // A store that is away tells nothing of what it has.
  const absl::Status read = ReadAllOf(snapshot, **was);
  if (storage::SaysStoreIsAway(read)) return read;
  if (!read.ok()) return false;
  const auto put = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::optional<storage::NewContent> content,
                     Carry(snapshot, **was, now.catalog, lease));
    if (!content) return absl::OkStatus();
    return now.catalog
        .Run([&](storage::Transaction& transaction) {
          return transaction.HealVersion(version_id, is->content, (*was)->version.form, *content);
        })
        .status();
  };
  const absl::Status healing = put();
  // A chunk in a pack that it has is not where that catalog says, either.
  if (ReasonOf(healing) == Reason::kBackendDown) return false;
  RETURN_IF_ERROR(healing);
  // Another version that has the same chunk may have healed it.
  ASSIGN_OR_RETURN(const std::optional<StoredVersion> healed, FindById(now.catalog, version_id));
  if (!healed) return false;
  const absl::Status read_now = ReadAllOf(now, *healed);
  if (storage::SaysStoreIsAway(read_now)) return read_now;
  return read_now.ok();
}

}  // namespace backup
