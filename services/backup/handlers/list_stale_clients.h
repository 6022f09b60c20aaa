#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A page of the clients without a verified file for as long as asked.
absl::StatusOr<v1::ListStaleClientsResponse> ListStaleClients(
    storage::Snapshot& snapshot, const Clock& clock, const v1::ListStaleClientsRequest& request);

}  // namespace backup::handlers
