#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "content/pack_footer.h"
#include "crypto/key_ring.h"
#include "storage/blob_store.h"
#include "storage/catalog/chunk.h"

namespace backup::jobs {

// The parts of recipes that go along with the chunks of packs into a new pack (docs/storage.md).
// Used by one thread at a time.
class CarriedParts {
 public:
  // What is read with; it outlives each use.
  struct Resources {
    const storage::BlobStore& blobs;
    const crypto::KeyRing& master_key;
  };

  // Takes the parts that a pack's footer has, each once. Returns whether there was room beside
  // those that were taken before, which there always is for those of the first pack; else none is
  // taken. Of a footer that is damaged there are none, which is logged: the pack's chunks can be
  // read without it. Reason STORAGE_IO.
  absl::StatusOr<bool> Take(const storage::PackInfo& pack, const Resources& resources);
  // No recipe that is needed names this chunk.
  void NoteUnneeded(const ChunkId& chunk) { unneeded_.insert(chunk); }

  // What they take of a footer at most.
  int64_t size_bytes() const { return size_bytes_; }
  // Those that name a chunk of the new pack, and none that is not needed.
  std::vector<content::PackFooter::Part> PartsFor(
      const std::vector<storage::PackedChunk>& chunks) &&;

 private:
  using Part = content::PackFooter::Part;

  bool has_some_ = false;  // Of a pack, be there any or not.
  std::vector<Part> parts_;
  std::set<std::pair<std::string, int64_t>> taken_;  // Content id and first step of each.
  size_t steps_ = 0;
  int64_t size_bytes_ = 0;
  absl::flat_hash_set<ChunkId> unneeded_;
};

}  // namespace backup::jobs
