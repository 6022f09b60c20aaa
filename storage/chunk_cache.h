#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "storage/catalog/chunk.h"

namespace backup::storage {

// Chunks that uploads may refer to, as somebody found them in the catalog not long ago: by pack,
// since who has one chunk of a pack often has the next one, too. The pack that was not asked for
// the longest goes first. Thread-safe.
class ChunkCache {
 public:
  // About what a chunk takes here.
  static constexpr int64_t kBytesPerChunk = 128;

  explicit ChunkCache(int64_t max_bytes) : max_bytes_(max_bytes) {}
  ChunkCache(const ChunkCache&) = delete;
  ChunkCache& operator=(const ChunkCache&) = delete;

  // Whether a snapshot of at least this epoch (Snapshot::Epoch) had it. If that is the epoch that
  // an upload holds (BlobLedger::Upload), the chunk stays: what was condemned later waits for that,
  // or for a row that refers to it.
  bool Has(const ChunkRef& ref, int64_t epoch);
  // A snapshot of this epoch has these chunks of the pack, and all of them may be referred to.
  void Add(int64_t pack, int64_t epoch, const std::vector<ChunkRef>& chunks);
  // The chunk is not to be referred to any more: it is damaged.
  void Forget(const ChunkId& id);

  int64_t size_bytes() const;

 private:
  struct Pack {
    int64_t number = 0;
    int64_t epoch = 0;
    std::vector<ChunkId> chunks;
  };
  // Most recently used first.
  using Packs = std::list<Pack>;
  struct Place {
    int64_t size_bytes = 0;
    Packs::iterator pack;
  };

  void Drop(Packs::iterator pack) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t max_bytes_;
  mutable Mutex mutex_;
  // Ids in packs_: also of chunks that were moved or forgotten meanwhile.
  int64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  Packs packs_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<int64_t, Packs::iterator> by_number_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<ChunkId, Place> chunks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
