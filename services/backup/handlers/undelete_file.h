#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/lifecycle.pb.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Takes all versions of a file back that are in the trash, the newest first, in as many
// transactions as it takes. If one fails, those before it are done, and the call may be repeated.
absl::StatusOr<v1::UndeleteFileResponse> UndeleteFile(storage::Catalog& catalog,
                                                      const v1::UndeleteFileRequest& request);

}  // namespace backup::handlers
