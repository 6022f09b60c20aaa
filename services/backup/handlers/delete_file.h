#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "base/clock.h"
#include "services/backup/handlers/trash.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Deletes all versions that a file has now, the newest first, in as many transactions as it takes.
// If one fails, those before it are done, and the call may be repeated.
absl::StatusOr<v1::DeleteFileResponse> DeleteFile(storage::Catalog& catalog, const Clock& clock,
                                                  const TrashPolicy& policy,
                                                  const v1::DeleteFileRequest& request);

}  // namespace backup::handlers
