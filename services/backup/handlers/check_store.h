#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/ids.h"
#include "base/piece_buffers.h"
#include "content/chunk_reader.h"
#include "services/backup/handlers/chunk_id_keys.h"
#include "services/backup/handlers/open_content.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/types.h"

namespace backup::handlers {

// Reads what is stored and compares it with what the catalog and the stored bytes themselves say of
// it. What a second look finds damaged, too, is marked as such in the catalog; what is marked and
// can be read is so no longer. What the medium does not give now is told and nothing more: another
// time it may. Packs come first, so that each chunk is read once, however many versions have it.
// Used by one thread at a time.
class StoreCheck {
 public:
  // An error ends the check, with that error.
  using Moved = std::function<absl::Status(int64_t)>;
  struct Hooks {
    // Told of each thing that is wrong. An error ends the check, with that error.
    std::function<absl::Status(const v1::VerifyFinding&)> found;
    // Told of so many stored bytes when they are read: of a chunk, or of a piece of what is not in
    // chunks.
    Moved moved = [](int64_t) { return absl::OkStatus(); };
  };

  // What is borrowed must outlive this. Dictionaries are read anew: those of `places` may be in
  // memory only.
  StoreCheck(const StoredPlaces& places, PieceBudget& budget, Hooks hooks);

  // Its footer, and all its chunks, whether something refers to them or not.
  absl::Status CheckPack(const storage::PackInfo& pack);
  // Its content, but for chunks that are in packs: of those only that they are there and make up
  // its size. Of a content of one chunk in the catalog, and of what is not in chunks, the SHA-256
  // is compared, too. Also of what is in the trash.
  absl::Status CheckVersion(const storage::StoredVersion& stored);
  // Whether something in the catalog knows of the blob.
  absl::Status CheckBlob(const BlobId& blob);

  // Plaintext bytes that were compared.
  int64_t checked_bytes() const { return checked_bytes_; }

 private:
  // Some chunks by their number; if there are too many, all.
  class Numbers {
   public:
    void Insert(int64_t number);
    bool Contains(int64_t number) const { return has_all_ || numbers_.contains(number); }

   private:
    absl::flat_hash_set<int64_t> numbers_;
    bool has_all_ = false;
  };
  // What was found of the chunks of a pack.
  struct Looked {
    std::vector<storage::StoredChunk> damaged;  // That were not marked before,
    std::vector<storage::StoredChunk> whole;    // and that were, and are right.
    bool all_are_right = true;
  };
  enum class State { kRight, kDamaged, kUnclear };
  class ChunkBatch;

  absl::StatusOr<std::vector<storage::StoredChunk>> ChunksOf(int64_t pack);
  absl::Status ReadChunks(const std::vector<storage::StoredChunk>& chunks, Looked& looked);
  // Reads some chunks, as many as are digested at once, and begins to digest them.
  absl::StatusOr<std::unique_ptr<ChunkBatch>> ReadSome(const std::function<bool()>& begin,
                                                       content::ChunkReader& reader);
  // Compares chunks with their ids once they are digested.
  absl::Status TakeAll(ChunkBatch& batch, content::ChunkReader& reader, Looked& looked);
  absl::Status Take(const content::ChunkReader::Result& read, absl::string_view digest,
                    content::ChunkReader& reader, Looked& looked);
  absl::StatusOr<State> LookAtChunkAgain(const storage::StoredChunk& chunk,
                                         content::ChunkReader& reader);
  absl::Status Mark(const storage::PackInfo& pack, const Looked& looked);

  // OK if the content is what was stored.
  absl::Status CheckContent(const storage::StoredVersion& stored);
  absl::Status CheckRecipe(const storage::StoredVersion& stored, const storage::ChunkList& chunks,
                           const content::StoredContent& content);
  absl::Status CheckChunk(const content::StoredContent& content, const storage::StoredChunk& chunk);
  // Calls `moved` with the size of each piece.
  absl::Status ReadRange(const content::StoredContent& content, int64_t offset, int64_t size_bytes,
                         const Moved& moved);
  // The version as it is now, also if it is in the trash; nothing if it is gone, or given up.
  absl::StatusOr<std::optional<storage::StoredVersion>> Now(int64_t version_id);
  absl::Status MarkVersion(const storage::StoredVersion& stored, const absl::Status& wrong);

  const std::unique_ptr<content::Dictionaries> dictionaries_;
  const StoredPlaces places_;
  PieceBudget& budget_;
  const Hooks hooks_;
  ChunkIdKeys id_keys_;
  int64_t checked_bytes_ = 0;
  // Chunks of packs that are not right: they are read again for the versions that have them.
  Numbers suspects_;
  // Chunks in the catalog that are right, and the SHA-256 of the content that each is all of; empty
  // of one that is not.
  absl::flat_hash_map<int64_t, std::string> checked_;
};

}  // namespace backup::handlers
