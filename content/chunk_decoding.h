#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "storage/catalog/chunk.h"

namespace backup::content {

// A chunk as it is kept, unsealed if it is sealed and compressed if it is. `keys` and `scratch` as
// for OpenChunk().
absl::StatusOr<absl::string_view> UnsealStored(const storage::StoredChunk& chunk,
                                               absl::string_view stored, absl::string_view pack_key,
                                               const StoreKeys* keys, std::string& scratch);

// The plaintext of a chunk as it is kept: unsealed and decompressed, of the size that it is to
// have; whether it is what its id says is left to the caller. `stored` is what its pack or the
// catalog holds; `pack_key` opens it if it is sealed in a pack; `keys` may be null for what is in a
// pack; `dictionaries` has what it was compressed with. Reason BLOB_DAMAGED, and the errors of
// Dictionaries::Find(). `scratch` lets a plain raw chunk pass without being copied: the result
// points into `stored` or into it.
absl::StatusOr<absl::string_view> OpenChunk(const storage::StoredChunk& chunk,
                                            absl::string_view stored, absl::string_view pack_key,
                                            const StoreKeys* keys, std::string& scratch,
                                            Dictionaries* dictionaries = nullptr);

}  // namespace backup::content
