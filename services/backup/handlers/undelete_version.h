#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/lifecycle.pb.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Takes one version of a file back from the trash.
absl::StatusOr<v1::UndeleteVersionResponse> UndeleteVersion(
    storage::Catalog& catalog, const v1::UndeleteVersionRequest& request);

}  // namespace backup::handlers
