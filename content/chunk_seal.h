#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "base/secret_bytes.h"
#include "crypto/aead.h"
#include "crypto/key_ring.h"

namespace backup::content {

inline constexpr size_t kPackKeySize = crypto::Aead::kKeySize;

// A pack's key, which must be a new one at random, as its footer and the catalog keep it: under the
// master key, bound to the pack.
std::string WrapPackKey(absl::string_view pack_key, const BlobId& pack_id,
                        const crypto::KeyRing& master_key);
// The other way. Reason BLOB_DAMAGED if it was changed, or belongs to another pack.
absl::StatusOr<SecretBytes> OpenPackKey(absl::string_view wrapped_key, const BlobId& pack_id,
                                        const crypto::KeyRing& master_key);
// Whether the generation of keys is there that has wrapped it. One that was changed may look as if
// it were not.
bool HasKeyOfPack(absl::string_view wrapped_key, const BlobId& pack_id,
                  const crypto::KeyRing& master_key);
// By which generation of keys it is wrapped (KeyRing::GenerationOf).
uint32_t GenerationOfPackKey(absl::string_view wrapped_key, const BlobId& pack_id,
                             const crypto::KeyRing& master_key);

// Which place of which pack a chunk has.
struct ChunkPlace {
  BlobId pack_id;
  int index = 0;
};

// Bytes that sealing makes of `size_bytes`.
int64_t SealedChunkSize(int64_t size_bytes);

// Seals one chunk after the other under the key of their pack, as their bytes come: segments of
// 64 KiB, each bound to the pack, the chunk's index and its own number, the last one to the chunk's
// id, too, which only has to be known then (docs/storage.md). Used by one thread at a time.
class ChunkSealer {
 public:
  ChunkSealer(absl::string_view pack_key, const BlobId& pack_id);

  // The chunk with this index begins; what was not finished before is given up. Dies unless the
  // index is above all before: one that is used twice gives the content away, also where what was
  // sealed with it is garbage.
  void Begin(int index);
  // Appends to `sealed` what is certain of it: never the last segment.
  void Update(absl::string_view bytes, std::string& sealed);
  // Appends the rest.
  void Finish(const ChunkId& id, std::string& sealed);

 private:
  void SealSegment(absl::string_view segment, bool last, absl::string_view context,
                   std::string& sealed);

  crypto::Aead aead_;
  const BlobId pack_id_;
  int index_ = -1;
  uint32_t segment_ = 0;
  std::string pending_;  // The last segment, as it seems; at most a whole one.
};

// What was sealed. Reason BLOB_DAMAGED if it was changed, or belongs to another place or chunk.
absl::StatusOr<std::string> UnsealChunk(absl::string_view pack_key, const ChunkPlace& place,
                                        const ChunkId& id, absl::string_view sealed);

// One small chunk under a key of its own (StoreKeys::InlineKey): a random nonce, the ciphertext and
// its tag.
std::string SealInline(absl::string_view key, const ChunkId& id, absl::string_view bytes);
// The other way. Reason BLOB_DAMAGED if it was changed, or belongs to another chunk.
absl::StatusOr<std::string> UnsealInline(absl::string_view key, const ChunkId& id,
                                         absl::string_view sealed);

}  // namespace backup::content
