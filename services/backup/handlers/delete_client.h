#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Versions of a client that one transaction deletes at most. All of a large client's at once would
// keep everybody else waiting, and need more room in the catalog's log than a full disk has.
inline constexpr int kDeleteClientStep = 128;

// Deletes a client with all that it has, in as many transactions as it takes: the client itself
// goes with the last of its versions. If one fails, those before it are done, and the call may be
// repeated.
absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog,
                                                      const v1::DeleteClientRequest& request);

}  // namespace backup::handlers
