#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/open_content.h"

// The keys that seal what is kept (docs/operations.md, "Keys"). All of these wait for the catalog.
namespace backup::handlers {

// Reads the clients and packs of the store page by page.
absl::StatusOr<v1::ListKeysResponse> ListKeys(storage::Catalog& catalog, const KeyKeeper& keeper);

// Takes a snapshot of the state, and waits for it (ServiceContext::back_up_state).
using BackUpState = std::function<absl::StatusOr<v1::BackUpStateResponse>()>;

// Makes a generation, and then a snapshot that has it. Errors as of KeyKeeper::Rotate() and
// `back_up_state`, whose message then says that the generation is there.
absl::StatusOr<v1::RotateKeyResponse> RotateKey(KeyKeeper& keeper, const Clock& clock,
                                                const BackUpState& back_up_state);

// `places` are those of the store whose keys `keeper` keeps. Errors as of KeyKeeper::Rewrap() and
// `back_up_state`, whose message then says that the old master key is needed still.
absl::StatusOr<v1::RewrapKeysResponse> RewrapKeys(const StoredPlaces& places, KeyKeeper& keeper,
                                                  const Clock& clock,
                                                  const BackUpState& back_up_state,
                                                  const v1::RewrapKeysRequest& request);

}  // namespace backup::handlers
