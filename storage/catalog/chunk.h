#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "storage/catalog/version.h"

// Content that is kept once: a piece of plaintext, called chunk, is kept in one place, however many
// versions have it. Chunks of large files are in packs, which are blobs; what is small is in the
// catalog itself. A version refers to its chunks in order: its recipe (docs/storage.md).
namespace backup::storage {

// The numbers are those of the database and of pack footers: never change one.
enum class ChunkCoding : int {
  kRaw = 1,
  kZstd = 2,  // One zstd frame; if it needs a dictionary, its header names it.
};

// One step of a recipe.
struct ChunkRef {
  ChunkId id;
  int64_t size_bytes = 0;  // Of the plaintext; above 0.

  bool operator==(const ChunkRef&) const = default;
};

// A chunk that is kept in a pack. What is in the pack and in no chunk's place is garbage.
struct PackedChunk {
  ChunkId id;
  int64_t size_bytes = 0;   // Of the plaintext.
  int64_t offset = 0;       // In the pack.
  int64_t stored_size = 0;  // In the pack, tags of the seal included.
  int index = 0;            // Which of the pack's chunks, from 0: sealing binds it.
  ChunkCoding coding = ChunkCoding::kRaw;
  bool waits = false;  // To be compressed: there was no time when it came.
};

// A pack that is whole and durable in the blob store, where it is still pending.
struct NewPack {
  BlobId blob_id;
  int64_t size_bytes = 0;
  int64_t footer_bytes = 0;                // Of these, what it says about itself.
  StorageForm form = StorageForm::kPlain;  // Or kSealed.
  std::string wrapped_key;                 // kSealed: the pack's key under the master key.
  std::vector<PackedChunk> chunks;         // In the order of their index.
};

// The one chunk of a small content, which is kept in the catalog.
struct InlineChunk {
  ChunkRef ref;
  StorageForm form = StorageForm::kPlain;  // Or kSealed.
  ChunkCoding coding = ChunkCoding::kRaw;
  std::string payload;  // As it is kept: compressed, then sealed.
  // Whether the key of a sealed pack, as the catalog has it, is at hand. Where it is not, the chunk
  // counts as not being in that pack. Asked within the transaction, so it must not wait. Null: all
  // are.
  std::function<bool(absl::string_view wrapped_key, const BlobId& pack)> has_pack_key = nullptr;
};

// New content in chunks, as far as the catalog was not told of it yet.
struct NewChunks {
  std::vector<NewPack> packs;        // That hold what is new.
  std::vector<InlineChunk> inlined;  // The same, in the catalog; at most one.
  std::vector<ChunkRef> recipe;      // The (rest of the) recipe; what no pack above holds is known.
  int64_t recipe_id = 0;             // Of AppendRecipe(), if there was one: the recipe's beginning.
};

// Where a chunk is, for those who read it.
struct StoredChunk {
  int64_t number = 0;  // The catalog's own name for it.
  ChunkRef ref;
  int64_t offset_in_content = 0;  // In the content that it was read of; else 0.
  StorageForm form = StorageForm::kPlain;
  ChunkCoding coding = ChunkCoding::kRaw;
  bool is_damaged = false;    // Somebody found it so.
  bool is_condemned = false;  // It goes when its pack is rewritten, unless somebody refers to it.
  bool waits = false;
  int64_t refs = 0;
  // In a pack,
  int64_t pack = 0;  // The catalog's number of it; 0: in the catalog.
  BlobId pack_blob;
  std::string wrapped_key;
  int64_t offset = 0;
  int64_t stored_size = 0;
  int index = 0;
  // or in the catalog.
  std::string payload;
};

// A pack, as those see it who decide what becomes of it.
struct PackInfo {
  int64_t pack = 0;
  BlobId blob_id;
  int64_t size_bytes = 0;
  int64_t live_bytes = 0;     // Stored sizes of its chunks that a recipe refers to.
  int64_t waiting_bytes = 0;  // Of those, what waits to be compressed.
  StorageForm form = StorageForm::kPlain;
  std::string wrapped_key;
  int64_t condemned_epoch = 0;  // 0: it is not.
  // In whatever state; not counted above Snapshot::kManyChunks, nor by Snapshot::ListPacks().
  int64_t chunk_count = 0;
  int64_t footer_bytes = 0;  // Of its size; 0: an older program stored it, and it is not known.
};

}  // namespace backup::storage
