#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// One version.
absl::StatusOr<v1::GetVersionResponse> GetVersion(storage::Snapshot& snapshot,
                                                  const v1::GetVersionRequest& request);

}  // namespace backup::handlers
