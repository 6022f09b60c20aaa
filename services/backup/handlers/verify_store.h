#pragma once

#include <functional>

#include "absl/status/status.h"
#include "backup/v1/admin.pb.h"
#include "base/piece_buffers.h"
#include "services/backup/handlers/open_content.h"

namespace backup::handlers {

// Reads everything back, or a random share of it, and compares it with its checksums (StoreCheck),
// each pack and each chunk once, however many versions have it; what is damaged of them is marked,
// so that the next upload of the same bytes puts it right. `report` gets progress, findings, and a
// summary last; an error it returns (the caller is gone) ends the verification. Reason
// INVALID_FIELD.
absl::Status VerifyStore(const StoredPlaces& places, PieceBudget& budget,
                         const v1::VerifyStoreRequest& request,
                         const std::function<absl::Status(const v1::VerifyStoreResponse&)>& report);

}  // namespace backup::handlers
