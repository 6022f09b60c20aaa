#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A client, by its id or its name.
absl::StatusOr<v1::GetClientResponse> GetClient(storage::Snapshot& snapshot,
                                                const v1::GetClientRequest& request);

}  // namespace backup::handlers
