#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "crypto/key_ring.h"
#include "storage/blob_store.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::testing {

struct ToldVersion {
  storage::Version version;
  std::vector<storage::ChunkRef> recipe;
};

// All versions of which the packs of a store tell the whole, by their ids, as they are to be found
// without a catalog. Versions that are gone may be among them, and other recipes of the same
// content, which a process left that ended while it moved it. Reasons BLOB_DAMAGED, also of a
// single footer, and STORAGE_IO.
absl::StatusOr<std::multimap<int64_t, ToldVersion>> ReadToldVersions(
    const storage::BlobStore& blobs, const crypto::KeyRing& master_key);

// Whether `told` has this version: its client, name, digest and recipe.
bool IsTold(const std::multimap<int64_t, ToldVersion>& told, const storage::Version& version,
            const std::vector<storage::StoredChunk>& chunks);

}  // namespace backup::testing
