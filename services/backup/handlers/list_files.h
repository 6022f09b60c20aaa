#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A page of a client's files.
absl::StatusOr<v1::ListFilesResponse> ListFiles(storage::Snapshot& snapshot,
                                                const v1::ListFilesRequest& request);

}  // namespace backup::handlers
