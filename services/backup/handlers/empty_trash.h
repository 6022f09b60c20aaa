#pragma once

#include <functional>

#include "absl/status/status.h"
#include "backup/v1/lifecycle.pb.h"
#include "base/clock.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Purges all that is in the trash now, or of one client. Calls `report` with how much is gone so
// far, now and then and at the end; ends if that returns an error.
absl::Status EmptyTrash(storage::Catalog& catalog, const Clock& clock,
                        const v1::EmptyTrashRequest& request,
                        const std::function<absl::Status(const v1::EmptyTrashResponse&)>& report);

}  // namespace backup::handlers
