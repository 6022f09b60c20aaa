#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "base/piece_buffers.h"
#include "content/chunk_reader.h"
#include "crypto/sha256.h"
#include "storage/catalog/chunk.h"

namespace backup::content {

// Where the chunks of one content are. Used by one thread at a time.
class ChunkStore {
 public:
  virtual ~ChunkStore() = default;
  // Some of its chunks, in order, from the one on that holds the byte at `offset`, as they are now:
  // a chunk moves when its pack is rewritten. None at the content's end.
  virtual absl::StatusOr<std::vector<storage::StoredChunk>> ListChunks(int64_t offset) = 0;
  // NotFound, or reason STORAGE_IO.
  virtual absl::StatusOr<std::unique_ptr<RandomAccess>> OpenPack(const BlobId& id) = 0;
  // These bytes of a pack that is not open are read soon (BlobStore::NoteRead()).
  virtual void NoteRead(const BlobId& /*id*/, int64_t /*offset*/, int64_t /*size_bytes*/) {}
  // Told of a chunk that was read twice at this place and is damaged there. If ListChunks() has
  // another place for it then, that is tried, too.
  virtual void TellDamaged(const storage::StoredChunk& /*chunk*/) {}
};

// The plaintext bytes [offset, offset + size_bytes) of a content in chunks, of which only those are
// read that it needs. Each is compared with its id. Chunks that are not where they were are looked
// for again; reason BLOB_DAMAGED names the chunk by its place in the content. A piece is valid
// beside others as MakeLast() says. Used by one thread at a time.
class ChunkSource final : public LastingSource {
 public:
  struct Checks {
    // One of these made the id of each chunk (StoreKeys::IdKeysOf); none: chunks are not
    // compared.
    std::vector<ChunkIdKey> id_keys;
    // Of all bytes of the source; nothing: they are not compared.
    std::optional<std::string> sha256;
  };

  // The range must lie within the content. What is borrowed must outlive this.
  ChunkSource(ChunkStore& store, ChunkKeys keys, Checks checks, PieceBudget& budget, int64_t offset,
              int64_t size_bytes);

  // Finds the first chunks and opens the first pack: what is open stays readable, whatever is
  // deleted. Not needed; before the first Read().
  absl::Status Open();

  void MakeLast(size_t pieces) override { lasting_pieces_ = pieces; }
  size_t lasting_pieces() const override { return lasting_pieces_; }
  absl::StatusOr<absl::string_view> Read() override;

 private:
  // A chunk of which pieces were handed out.
  struct Used {
    std::unique_ptr<PlainChunk> plain;
    int64_t last_piece = 0;
  };

  // Fills listed_, unless all chunks of the range were listed.
  absl::Status List();
  // Tells of the packs that come next, each once.
  void NoteAhead();
  // Forgets what was listed.
  void ListAgain();
  // Has as many chunks read ahead as can be.
  absl::Status Begin();
  absl::Status ReadChunk();
  // Compares a chunk with its id, and takes it into hash_ if that is right.
  absl::Status Check(const storage::ChunkRef& ref, absl::string_view bytes);
  // The chunk at position_ once more, wherever it is by now, after `found` was met.
  absl::StatusOr<std::unique_ptr<PlainChunk>> LookAgain(const storage::StoredChunk& chunk,
                                                        absl::Status found);
  void ReleasePieces();

  ChunkStore& store_;
  Checks checks_;
  int64_t position_;  // In the content, of the next byte.
  int64_t list_from_;
  const int64_t end_;
  std::deque<storage::StoredChunk> listed_;  // And not begun.
  std::deque<BlobId> noted_;                 // Packs that were begun or noted, the newest last.
  size_t lasting_pieces_ = 0;
  int64_t pieces_ = 0;      // That were read.
  std::deque<Used> used_;   // Oldest first; the last one is the newest chunk.
  absl::string_view rest_;  // Of the newest chunk.
  crypto::Sha256 hash_;     // Of all chunks that were read.
  bool ended_ = false;
  ChunkReader reader_;
};

}  // namespace backup::content
