#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Deletes a client with all that it has. Used by one thread at a time.
class DeleteClient {
 public:
  static absl::StatusOr<DeleteClient> Prepare(const v1::DeleteClientRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::DeleteClientResponse> Respond() const { return v1::DeleteClientResponse(); }

 private:
  ClientId id_;
};

}  // namespace backup::handlers
