#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/open_content.h"

// The keys that seal what is kept (docs/operations.md, "Keys"). All of these wait for the catalog.
namespace backup::handlers {

// Reads the clients and packs of the store page by page.
absl::StatusOr<v1::ListKeysResponse> ListKeys(storage::Catalog& catalog, const KeyKeeper& keeper);

absl::StatusOr<v1::RotateKeyResponse> RotateKey(KeyKeeper& keeper, const Clock& clock);

// `places` are those of the store whose keys `keeper` keeps.
absl::StatusOr<v1::RewrapKeysResponse> RewrapKeys(const StoredPlaces& places, KeyKeeper& keeper,
                                                  const Clock& clock,
                                                  const v1::RewrapKeysRequest& request);

}  // namespace backup::handlers
