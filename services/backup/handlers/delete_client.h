#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "base/clock.h"
#include "services/backup/handlers/trash.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Deletes a client with all that it has: one row puts it into the trash. If it is to be gone for
// good, it is purged from there in as many transactions as it takes; if one fails, the job "purge"
// does the rest.
absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog, const Clock& clock,
                                                      const TrashPolicy& policy,
                                                      const v1::DeleteClientRequest& request);

}  // namespace backup::handlers
