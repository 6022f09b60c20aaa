#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/aligned_buffer.h"
#include "base/byte_stream.h"
#include "base/clock.h"
#include "base/stage_resources.h"
#include "content/arriving_content.h"
#include "content/chunk_compressor.h"
#include "content/compression.h"
#include "content/dictionary.h"
#include "content/pack_builder.h"
#include "content/store_keys.h"
#include "content/stored_form.h"
#include "crypto/key_ring.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::content {

// Which chunks are kept already. Used by one thread at a time.
class ChunkIndex {
 public:
  virtual ~ChunkIndex() = default;
  // Whether the content may refer to it rather than bring it.
  virtual absl::StatusOr<bool> Knows(const storage::ChunkRef& ref) = 0;
};

// How content becomes chunks.
struct Chunking {
  const StoreKeys& keys;
  ChunkIdKey id_key;
  CompressionPolicy compression;
  int64_t inline_limit = 0;    // Content of at most so many stored bytes goes into the catalog.
  size_t max_recipe_part = 0;  // Transaction::kMaxRecipePart.
  // What is kept in the catalog is compressed with; null: with nothing.
  std::shared_ptr<const Dictionary> dictionary = nullptr;
};

// Plaintext bytes of a content by what became of them.
struct ChunkTotals {
  int64_t known = 0;       // Were there.
  int64_t raw = 0;         // Are kept as they are,
  int64_t compressed = 0;  // or compressed.
  int64_t stored = 0;      // What of the last two is kept, before sealing.
};

// Content that comes in, as chunks: small content as one that is kept in the catalog; of large
// content what is not known yet, in packs. One pass over the content (ArrivingContent, whose errors
// are this one's). Its owner calls Advance() until the end, and does each time what that says.
// Memory does not grow with the content. Used by one thread at a time.
class ChunkedForm {
 public:
  enum class Next {
    kPack,    // OpenPack(), store what it yields, and then PackIsStaged().
    kRecipe,  // TakeRecipePart() has what the catalog is to be told before the content goes on.
    kEnd,     // version() and TakeRest() are what is to be added.
  };

  // What is borrowed must outlive this.
  ChunkedForm(Arrival arrival, Chunking chunking, const crypto::KeyRing& master_key,
              const Clock& clock, StageResources& stages, NextVersionId next_version_id,
              ChunkIndex& index, ByteSource& chunks);
  ~ChunkedForm();

  absl::StatusOr<Next> Advance();

  // The next pack, under this id; at most one at a time, which must not outlive this. Errors of
  // Read(): those of Advance().
  std::unique_ptr<ByteSource> OpenPack(const BlobId& id);
  // How large that pack can become, as far as that is known.
  std::optional<int64_t> LargestPackSize() const;
  // All of it was taken: so many bytes. It must be durable before the catalog is told of it.
  void PackIsStaged(int64_t size_bytes);

  storage::NewChunks TakeRecipePart();
  // Of the recipe, what follows that part.
  const std::vector<storage::ChunkRef>& rest_of_recipe() const { return new_.recipe; }

  // After kEnd:
  const storage::Version& version() const { return *version_; }
  storage::NewChunks TakeRest() { return std::move(new_); }
  const ChunkTotals& totals() const { return totals_; }

  const ArrivingContent& content() const { return content_; }
  // The last byte was read; and when, once it was.
  bool has_ended() const { return ended_.has_value(); }
  std::chrono::steady_clock::time_point ended() const { return *ended_; }

 private:
  class PackSource;
  using Part = PackBuilder::Part;

  struct Chunk {
    storage::ChunkRef ref;
    std::vector<Part> parts;
  };

  absl::Status Begin();
  absl::Status StoreInline(absl::string_view bytes);

  // Reads the next piece; empty at the end.
  absl::Status ReadPiece();
  // The bytes that come next, up to the end of the chunk if that is known.
  Part TakePart();
  // Gathers the next chunk in chunk_; false at the end of the content.
  absl::StatusOr<bool> GatherChunk();
  absl::StatusOr<bool> IsKnown(const storage::ChunkRef& ref);
  void AddStep(const storage::ChunkRef& ref);
  void AddKnown(const storage::ChunkRef& ref);

  // With room for whole chunks: until one is in chunk_ that must be stored.
  absl::StatusOr<Next> AdvanceWide();
  absl::StatusOr<Next> AdvanceNarrow();

  // One step in the making of a pack.
  absl::Status ProduceWide();
  absl::Status ProduceNarrow();
  // Appends a part of a chunk that goes on.
  void AppendNarrow(const Part& part);
  absl::Status EndNarrowChunk(const storage::ChunkRef& ref);
  void StoreChunk();
  void FinishPack();
  absl::StatusOr<absl::string_view> ReadPack();

  const Chunking chunking_;
  const crypto::KeyRing& master_key_;
  const NextVersionId next_version_id_;
  ChunkIndex& index_;
  ArrivingContent content_;
  ChunkCompressor compressor_;
  bool has_begun_ = false;
  bool is_inline_ = false;

  // Where it is in the content.
  AlignedBuffer prefix_;                   // What was read to see whether it is small.
  absl::string_view piece_;                // The rest of the last piece,
  int64_t piece_number_ = Part::kNoPiece;  // its number,
  int64_t pieces_read_ = 0;                // which counts these.
  int64_t read_bytes_ = 0;
  int64_t position_ = 0;
  std::optional<EndedChunk> ending_;  // The chunk at position_, once its end is known.
  std::optional<storage::Version> version_;
  std::optional<std::chrono::steady_clock::time_point> ended_;

  // A chunk that is to be stored next, or that goes on in the pack.
  Chunk chunk_;
  bool has_chunk_ = false;
  std::optional<bool> may_shrink_;  // As the first large enough part of one that goes on tells.

  // The pack in the making.
  std::optional<PackBuilder> pack_;
  bool pack_is_finished_ = false;
  std::deque<Part> in_use_;  // What it has yielded and may be in use still.
  std::function<void()> end_uses_;

  std::string content_id_;                       // Once there is a pack.
  std::vector<storage::ChunkRef> footer_steps_;  // That no footer has yet,
  int64_t first_footer_step_ = 0;                // and the number of the first of them.
  absl::flat_hash_set<ChunkId> own_;             // In packs of which the catalog was not told yet.
  storage::NewChunks new_;
  ChunkTotals totals_;
};

}  // namespace backup::content
