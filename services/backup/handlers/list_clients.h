#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/snapshot.h"

namespace backup::handlers {

// A page of all clients.
absl::StatusOr<v1::ListClientsResponse> ListClients(storage::Snapshot& snapshot,
                                                    const v1::ListClientsRequest& request);

}  // namespace backup::handlers
