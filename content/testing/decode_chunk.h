#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "content/chunk_decoding.h"
#include "content/chunk_digest.h"
#include "content/store_keys.h"
#include "storage/catalog/chunk.h"

namespace backup::content {

// The plaintext of a chunk as it is kept, as OpenChunk(), and compared with its id, which one of
// `id_keys` made: else reason BLOB_DAMAGED.
inline absl::StatusOr<absl::string_view> DecodeChunk(
    const storage::StoredChunk& chunk, absl::string_view stored, absl::string_view pack_key,
    const StoreKeys& keys, std::span<const ChunkIdKey> id_keys, std::string& scratch,
    Dictionaries* dictionaries = nullptr) {
  ASSIGN_OR_RETURN(const absl::string_view plain,
                   OpenChunk(chunk, stored, pack_key, &keys, scratch, dictionaries));
  const auto made = [&](const ChunkIdKey& key) { return ChunkIdOf(key, plain) == chunk.ref.id; };
  if (!std::any_of(id_keys.begin(), id_keys.end(), made))
    return MakeError(Reason::kBlobDamaged, "a chunk is not what its id says");
  return plain;
}

}  // namespace backup::content
