#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A page of a file's versions, newest first.
absl::StatusOr<v1::ListVersionsResponse> ListVersions(storage::Snapshot& snapshot,
                                                      const v1::ListVersionsRequest& request);

}  // namespace backup::handlers
