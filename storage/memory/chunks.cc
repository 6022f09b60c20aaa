#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {
namespace {

absl::Status LostSight() {
  return MakeError(Reason::kBackendDown, "the file took too long to store; send it again");
}

absl::Status Corrupt() { return MakeError(Reason::kStateCorrupt, "a chunk is missing"); }

bool IsToRewrite(const PackInfo& pack) {
  const int64_t size_bytes = pack.size_bytes - pack.footer_bytes;
  return pack.condemned_epoch > 0 || pack.waiting_bytes > 0 || pack.live_bytes == 0 ||
         (pack.live_bytes * 3 < size_bytes * 2 &&
          size_bytes - pack.live_bytes > Snapshot::kSmallWaste);
}

}  // namespace

// What content brings.

bool MemoryTransaction::IsWhole(const NewContent& content) {
  if (const auto* blob = std::get_if<NewBlob>(&content))
    return state_.pending_blobs.contains(blob->id);
  const auto* chunks = std::get_if<NewChunks>(&content);
  if (chunks == nullptr) return true;
  if (chunks->recipe_id != 0 && !state_.pending_recipes.contains(chunks->recipe_id)) return false;
  std::set<ChunkId> brought;
  for (const InlineChunk& chunk : chunks->inlined) brought.insert(chunk.ref.id);
  for (const NewPack& pack : chunks->packs) {
    if (!state_.pending_blobs.contains(pack.blob_id)) return false;
    for (const PackedChunk& chunk : pack.chunks) brought.insert(chunk.id);
  }
  return std::all_of(chunks->recipe.begin(), chunks->recipe.end(), [&](const ChunkRef& step) {
    const StoredChunk* const chunk = ChunkOf(step.id);
    return brought.contains(step.id) || (chunk != nullptr && !chunk->is_damaged);
  });
}

MemoryState::KeptVersion MemoryTransaction::TakeContent(const NewContent& content) {
  MemoryState::KeptVersion kept;
  if (const auto* bytes = std::get_if<std::string>(&content)) {
    kept.stored.content = *bytes;
    kept.kept_bytes = std::ssize(*bytes);
  } else if (const auto* blob = std::get_if<NewBlob>(&content)) {
    state_.pending_blobs.erase(blob->id);
    kept.stored.content = blob->id;
    kept.blob_size = kept.kept_bytes = blob->size_bytes;
  } else {
    const auto& chunks = std::get<NewChunks>(content);
    MemoryState::Recipe taken = TakeSteps(chunks);
    kept.kept_bytes = taken.kept_bytes;
    if (chunks.recipe_id == 0 && taken.chunks.size() <= 1) {
      kept.stored.content = ChunkList{taken.chunks.empty() ? 0 : taken.chunks.front(), 0};
      return kept;
    }
    const int64_t id = chunks.recipe_id != 0 ? chunks.recipe_id : state_.next_number++;
    kept.kept_bytes = Append(id, taken);
    state_.pending_recipes.erase(id);
    kept.stored.content = ChunkList{0, id};
  }
  return kept;
}

absl::Status MemoryTransaction::DropBrought(const NewContent& content) {
  if (const auto* blob = std::get_if<NewBlob>(&content)) return DropPendingBlob(blob->id);
  const auto* chunks = std::get_if<NewChunks>(&content);
  if (chunks == nullptr) return absl::OkStatus();
  for (const NewPack& pack : chunks->packs) RETURN_IF_ERROR(DropPendingBlob(pack.blob_id));
  return DropPendingRecipe(chunks->recipe_id);
}

MemoryState::Recipe MemoryTransaction::TakeSteps(const NewChunks& chunks) {
  MemoryState::Recipe taken;
  for (const InlineChunk& chunk : chunks.inlined) taken.kept_bytes += PutInline(chunk);
  for (const NewPack& pack : chunks.packs) {
    const int64_t number = AddPack(pack);
    for (const PackedChunk& chunk : pack.chunks) {
      const StoredChunk* const known = ChunkOf(chunk.id);
      if (known != nullptr && !known->is_damaged && !known->is_condemned) continue;
      PutPacked(chunk, pack, number);
      taken.kept_bytes += chunk.stored_size;
    }
    DropPackIfEmpty(number);
  }
  for (const ChunkRef& step : chunks.recipe) {
    StoredChunk* const chunk = ChunkOf(step.id);
    ++chunk->refs;
    chunk->is_condemned = false;
    taken.chunks.push_back(chunk->number);
  }
  return taken;
}

StoredChunk* MemoryTransaction::ChunkOf(const ChunkId& id) {
  const auto found = state_.chunk_numbers.find(id);
  return found == state_.chunk_numbers.end() ? nullptr : &state_.chunks.at(found->second);
}

StoredChunk& MemoryTransaction::NewPlace(const ChunkRef& ref) {
  const int64_t number =
      state_.chunk_numbers.try_emplace(ref.id, state_.next_number++).first->second;
  StoredChunk& chunk = state_.chunks[number];
  const int64_t left = chunk.pack;
  const int64_t refs = chunk.refs;
  if (chunk.is_damaged && refs > 0) ++state_.healed_chunks;
  chunk = StoredChunk();
  chunk.number = number;
  chunk.ref = ref;
  chunk.refs = refs;
  DropPackIfEmpty(left);
  return chunk;
}

int64_t MemoryTransaction::PutInline(const InlineChunk& inlined) {
  const StoredChunk* const known = ChunkOf(inlined.ref.id);
  const bool is_usable = known != nullptr && !known->is_damaged && !known->is_condemned &&
                         (known->wrapped_key.empty() || inlined.has_pack_key == nullptr ||
                          inlined.has_pack_key(known->wrapped_key, known->pack_blob));
  if (is_usable) return 0;
  StoredChunk& chunk = NewPlace(inlined.ref);
  chunk.form = inlined.form;
  chunk.coding = inlined.coding;
  chunk.payload = inlined.payload;
  chunk.stored_size = std::ssize(inlined.payload);
  return chunk.stored_size;
}

void MemoryTransaction::PutPacked(const PackedChunk& packed, const NewPack& pack,
                                  int64_t pack_number) {
  StoredChunk& chunk = NewPlace({packed.id, packed.size_bytes});
  chunk.form = pack.form;
  chunk.coding = packed.coding;
  chunk.waits = packed.waits;
  chunk.pack = pack_number;
  chunk.pack_blob = pack.blob_id;
  chunk.wrapped_key = pack.wrapped_key;
  chunk.offset = packed.offset;
  chunk.stored_size = packed.stored_size;
  chunk.index = packed.index;
}

void MemoryTransaction::Release(int64_t number) {
  StoredChunk& chunk = state_.chunks.at(number);
  if (--chunk.refs > 0 || chunk.pack != 0) return;
  state_.chunk_numbers.erase(chunk.ref.id);
  state_.chunks.erase(number);
}

// Chunks.

absl::StatusOr<std::vector<StoredChunk>> MemoryTransaction::ListChunks(const ChunkList& content,
                                                                       int64_t offset, int limit) {
  std::vector<int64_t> numbers;
  if (content.chunk != 0) numbers.push_back(content.chunk);
  if (content.recipe != 0) {
    const auto recipe = state_.recipes.find(content.recipe);
    if (recipe == state_.recipes.end()) return Corrupt();
    numbers = recipe->second.chunks;
  }
  std::vector<StoredChunk> chunks;
  int64_t position = 0;
  for (const int64_t number : numbers) {
    const auto found = state_.chunks.find(number);
    if (found == state_.chunks.end()) return Corrupt();
    StoredChunk chunk = found->second;
    chunk.offset_in_content = std::exchange(position, position + chunk.ref.size_bytes);
    if (position > offset && std::ssize(chunks) < limit) chunks.push_back(std::move(chunk));
  }
  return chunks;
}

absl::StatusOr<std::optional<StoredChunk>> MemoryTransaction::FindChunk(const ChunkId& id) {
  const StoredChunk* const chunk = ChunkOf(id);
  if (chunk == nullptr || chunk->pack == 0 || chunk->is_damaged || chunk->is_condemned)
    return std::nullopt;
  return *chunk;
}

absl::StatusOr<std::vector<StoredChunk>> MemoryTransaction::ListInlineChunks(int64_t after,
                                                                             int limit) {
  std::vector<StoredChunk> chunks;
  for (const auto& [number, chunk] : state_.chunks) {
    if (number > after && chunk.pack == 0 && std::ssize(chunks) < limit) chunks.push_back(chunk);
  }
  return chunks;
}

absl::StatusOr<int64_t> MemoryTransaction::LastInlineChunk() {
  int64_t last = 0;
  for (const auto& [number, chunk] : state_.chunks) {
    if (chunk.pack == 0) last = number;
  }
  return last;
}

// Recipes.

absl::StatusOr<int64_t> MemoryTransaction::AppendRecipe(const NewChunks& part,
                                                        const BlobLease& lease) {
  if (!IsWhole(part)) return LostSight();
  const int64_t id = part.recipe_id != 0 ? part.recipe_id : state_.next_number++;
  state_.pending_recipes.try_emplace(id, lease);
  Append(id, TakeSteps(part));
  return id;
}

int64_t MemoryTransaction::Append(int64_t recipe_id, const MemoryState::Recipe& taken) {
  MemoryState::Recipe& recipe = state_.recipes[recipe_id];
  recipe.chunks.insert(recipe.chunks.end(), taken.chunks.begin(), taken.chunks.end());
  return recipe.kept_bytes += taken.kept_bytes;
}

absl::Status MemoryTransaction::DropPendingRecipe(int64_t recipe_id) {
  if (state_.pending_recipes.erase(recipe_id) > 0) state_.dropped_recipes.insert(recipe_id);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> MemoryTransaction::ReleaseRecipes(int limit) {
  int64_t released = 0;
  while (released < limit && !state_.dropped_recipes.empty()) {
    const int64_t id = *state_.dropped_recipes.begin();
    std::vector<int64_t>& chunks = state_.recipes.at(id).chunks;
    for (; released < limit && !chunks.empty(); ++released) {
      Release(chunks.back());
      chunks.pop_back();
    }
    if (!chunks.empty()) break;
    state_.recipes.erase(id);
    state_.dropped_recipes.erase(id);
  }
  return released;
}

// Packs.

int64_t MemoryTransaction::AddPack(const NewPack& pack) {
  state_.pending_blobs.erase(pack.blob_id);
  const int64_t number = state_.next_number++;
  PackInfo& info = state_.packs[number];
  info.pack = number;
  info.blob_id = pack.blob_id;
  info.size_bytes = pack.size_bytes;
  info.footer_bytes = pack.footer_bytes;
  info.form = pack.form;
  info.wrapped_key = pack.wrapped_key;
  return number;
}

std::vector<const StoredChunk*> MemoryTransaction::ChunksOf(int64_t pack) const {
  std::vector<const StoredChunk*> chunks;
  for (const auto& [number, chunk] : state_.chunks) {
    if (chunk.pack == pack) chunks.push_back(&chunk);
  }
  std::sort(chunks.begin(), chunks.end(),
            [](const auto* a, const auto* b) { return a->index < b->index; });
  return chunks;
}

void MemoryTransaction::DropPackIfEmpty(int64_t pack) {
  const auto found = state_.packs.find(pack);
  if (found == state_.packs.end() || !ChunksOf(pack).empty()) return;
  state_.dropped_blobs.insert(found->second.blob_id);
  state_.packs.erase(found);
}

PackInfo MemoryTransaction::Counted(PackInfo pack) const {
  const std::vector<const StoredChunk*> chunks = ChunksOf(pack.pack);
  pack.chunk_count = std::min<int64_t>(std::ssize(chunks), kManyChunks);
  for (const StoredChunk* chunk : chunks) {
    if (chunk->refs == 0) continue;
    pack.live_bytes += chunk->stored_size;
    if (chunk->waits) pack.waiting_bytes += chunk->stored_size;
  }
  return pack;
}

absl::StatusOr<std::vector<StoredChunk>> MemoryTransaction::ListPackChunks(int64_t pack, int after,
                                                                           int limit) {
  std::vector<StoredChunk> chunks;
  for (const StoredChunk* chunk : ChunksOf(pack)) {
    if (chunk->index > after && std::ssize(chunks) < limit) chunks.push_back(*chunk);
  }
  return chunks;
}

absl::StatusOr<std::optional<PackInfo>> MemoryTransaction::FindPack(int64_t pack) {
  const auto found = state_.packs.find(pack);
  if (found == state_.packs.end()) return std::nullopt;
  return Counted(found->second);
}

absl::StatusOr<std::vector<PackInfo>> MemoryTransaction::ListPacks(int64_t after, int limit) {
  std::vector<PackInfo> packs;
  for (auto it = state_.packs.upper_bound(after);
       it != state_.packs.end() && std::ssize(packs) < limit; ++it) {
    packs.push_back(Counted(it->second));
    packs.back().chunk_count = 0;
  }
  return packs;
}

absl::StatusOr<std::vector<PackInfo>> MemoryTransaction::ListPacksToRewrite(int64_t small_bytes,
                                                                            int limit) {
  std::vector<PackInfo> packs;
  for (const auto& [number, pack] : state_.packs) packs.push_back(Counted(pack));
  std::erase_if(packs, [&](const PackInfo& pack) {
    const std::vector<const StoredChunk*> chunks = ChunksOf(pack.pack);
    const bool is_damaged = std::any_of(chunks.begin(), chunks.end(), [](const auto* chunk) {
      return chunk->is_damaged && chunk->refs > 0;
    });
    const bool is_small =
        pack.size_bytes < small_bytes && pack.footer_bytes < Snapshot::kLargeFooter;
    return is_damaged || (!IsToRewrite(pack) && !is_small);
  });
  std::stable_sort(packs.begin(), packs.end(), [](const PackInfo& a, const PackInfo& b) {
    return std::pair(a.condemned_epoch == 0, a.live_bytes > 0) <
           std::pair(b.condemned_epoch == 0, b.live_bytes > 0);
  });
  if (std::ssize(packs) > limit) packs.resize(static_cast<size_t>(limit));
  return packs;
}

absl::StatusOr<int64_t> MemoryTransaction::CondemnPacks(const std::vector<int64_t>& packs) {
  ++state_.epoch;
  for (const int64_t pack : packs) {
    const auto found = state_.packs.find(pack);
    if (found != state_.packs.end()) found->second.condemned_epoch = state_.epoch;
  }
  for (auto& [number, chunk] : state_.chunks) {
    if (chunk.refs == 0 && std::find(packs.begin(), packs.end(), chunk.pack) != packs.end())
      chunk.is_condemned = true;
  }
  return state_.epoch;
}

absl::StatusOr<int64_t> MemoryTransaction::RewritePacks(const std::vector<int64_t>& sources,
                                                        const std::vector<NewPack>& packs) {
  for (const NewPack& pack : packs) {
    if (!state_.pending_blobs.contains(pack.blob_id)) return LostSight();
  }
  std::set<int64_t> left;
  for (const int64_t source : sources) {
    if (state_.packs.contains(source)) left.insert(source);
  }
  for (const NewPack& pack : packs) {
    const int64_t number = AddPack(pack);
    for (const PackedChunk& chunk : pack.chunks) {
      const StoredChunk* const known = ChunkOf(chunk.id);
      if (known != nullptr && left.contains(known->pack)) PutPacked(chunk, pack, number);
    }
    DropPackIfEmpty(number);
  }
  int64_t gone = 0;
  int64_t room = kMaxRewrittenChunks;
  for (const int64_t source : left) {
    RETURN_IF_ERROR(RemoveCondemned(source, room));
    if (!state_.packs.contains(source)) ++gone;
  }
  return gone;
}

absl::Status MemoryTransaction::RemoveCondemned(int64_t pack, int64_t& room) {
  bool has_more = false;
  for (const StoredChunk* chunk : ChunksOf(pack)) {
    if (chunk->refs > 0) continue;
    has_more = has_more || !chunk->is_condemned;
    if (!chunk->is_condemned || room == 0) continue;
    --room;
    state_.chunk_numbers.erase(chunk->ref.id);
    state_.chunks.erase(chunk->number);
  }
  DropPackIfEmpty(pack);
  const bool goes_on = has_more && state_.packs.at(pack).condemned_epoch > 0;
  return goes_on ? CondemnPacks({pack}).status() : absl::OkStatus();
}

absl::StatusOr<int64_t> MemoryTransaction::OldestEpoch() {
  int64_t oldest = std::numeric_limits<int64_t>::max();
  for (const auto& [owner, published] : state_.owner_epochs)
    oldest = std::min(oldest, published.epoch);
  return oldest;
}

absl::Status MemoryTransaction::PublishEpoch(const BlobLease& lease, int64_t epoch) {
  state_.owner_epochs[lease.owner] = {epoch, lease.end};
  return absl::OkStatus();
}

// Values.

absl::StatusOr<std::optional<std::string>> MemoryTransaction::FindStoreValue(
    const std::string& name) {
  const auto found = state_.store_values.find(name);
  if (found == state_.store_values.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::string> MemoryTransaction::AddStoreValue(const std::string& name,
                                                             const std::string& value) {
  return state_.store_values.try_emplace(name, value).first->second;
}

absl::Status MemoryTransaction::SetStoreValue(const std::string& name, const std::string& value) {
  state_.store_values.insert_or_assign(name, value);
  return absl::OkStatus();
}

}  // namespace backup::storage
