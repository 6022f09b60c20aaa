#include "content/chunk_decoding.h"

#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "content/compression.h"

namespace backup::content {
namespace {

using storage::ChunkCoding;
using storage::StorageForm;
using storage::StoredChunk;

absl::Status Damaged(absl::string_view why) { return MakeError(Reason::kBlobDamaged, why); }

absl::StatusOr<std::string> Unseal(const StoredChunk& chunk, absl::string_view stored,
                                   absl::string_view pack_key, const StoreKeys* keys) {
  const ChunkId& id = chunk.ref.id;
  if (chunk.pack == 0) return UnsealInline(keys->InlineKey(id), id, stored);
  return UnsealChunk(pack_key, {.pack_id = chunk.pack_blob, .index = chunk.index}, id, stored);
}

}  // namespace

absl::StatusOr<absl::string_view> UnsealStored(const StoredChunk& chunk, absl::string_view stored,
                                               absl::string_view pack_key, const StoreKeys* keys,
                                               std::string& scratch) {
  if (chunk.form != StorageForm::kSealed) return stored;
  ASSIGN_OR_RETURN(scratch, Unseal(chunk, stored, pack_key, keys));
  return absl::string_view(scratch);
}

absl::StatusOr<absl::string_view> OpenChunk(const StoredChunk& chunk, absl::string_view stored,
                                            absl::string_view pack_key, const StoreKeys* keys,
                                            std::string& scratch, Dictionaries* dictionaries) {
  const int64_t size = chunk.ref.size_bytes;
  if (size <= 0 || size > static_cast<int64_t>(kMaxChunkSize))
    return Damaged("a chunk has a size that no chunk has");
  ASSIGN_OR_RETURN(stored, UnsealStored(chunk, stored, pack_key, keys, scratch));
  if (chunk.coding == ChunkCoding::kZstd) {
    ASSIGN_OR_RETURN(scratch, Decompress(stored, size, dictionaries));
    stored = scratch;
  }
  if (static_cast<int64_t>(stored.size()) != size)
    return Damaged("a chunk has another size than it is to have");
  return stored;
}

}  // namespace backup::content
