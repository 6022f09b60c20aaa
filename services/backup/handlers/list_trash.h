#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/lifecycle.pb.h"
#include "services/backup/handlers/trash.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A page of what was deleted and can be taken back.
absl::StatusOr<v1::ListTrashResponse> ListTrash(storage::Snapshot& snapshot,
                                                const TrashPolicy& policy,
                                                const v1::ListTrashRequest& request);

}  // namespace backup::handlers
