#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "content/store_keys.h"
#include "crypto/key_ring.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// The keys of a store, as its catalog keeps them, made if there are none. Reasons BLOB_DAMAGED if
// they are another master key's, and as Catalog::Run().
absl::StatusOr<std::unique_ptr<content::StoreKeys>> OpenStoreKeys(
    storage::Catalog& catalog, const crypto::KeyRing& master_key);

}  // namespace backup::handlers
