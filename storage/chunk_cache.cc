#include "storage/chunk_cache.h"

#include <iterator>
#include <utility>

namespace backup::storage {

bool ChunkCache::Has(const ChunkRef& ref, int64_t epoch) {
  MutexLock lock(mutex_);
  const auto found = chunks_.find(ref.id);
  if (found == chunks_.end() || found->second.size_bytes != ref.size_bytes) return false;
  packs_.splice(packs_.begin(), packs_, found->second.pack);
  return found->second.pack->epoch >= epoch;
}

void ChunkCache::Add(int64_t pack, int64_t epoch, const std::vector<ChunkRef>& chunks) {
  MutexLock lock(mutex_);
  if (const auto old = by_number_.find(pack); old != by_number_.end()) Drop(old->second);
  packs_.push_front({pack, epoch, {}});
  by_number_[pack] = packs_.begin();
  for (const ChunkRef& ref : chunks) {
    chunks_[ref.id] = {ref.size_bytes, packs_.begin()};  // Maybe moved from another pack.
    packs_.front().chunks.push_back(ref.id);
  }
  held_ += std::ssize(chunks);
  while (!packs_.empty() && held_ * kBytesPerChunk > max_bytes_) Drop(std::prev(packs_.end()));
}

void ChunkCache::Forget(const ChunkId& id) {
  MutexLock lock(mutex_);
  chunks_.erase(id);
}

int64_t ChunkCache::size_bytes() const {
  MutexLock lock(mutex_);
  return held_ * kBytesPerChunk;
}

void ChunkCache::Drop(Packs::iterator pack) {
  for (const ChunkId& id : pack->chunks) {
    const auto found = chunks_.find(id);
    if (found != chunks_.end() && found->second.pack == pack) chunks_.erase(found);
  }
  held_ -= std::ssize(pack->chunks);
  by_number_.erase(pack->number);
  packs_.erase(pack);
}

}  // namespace backup::storage
