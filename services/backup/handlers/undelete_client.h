#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/lifecycle.pb.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Takes a client back from the trash with all that it had. Used by one thread at a time.
class UndeleteClient {
 public:
  static absl::StatusOr<UndeleteClient> Prepare(storage::DuplicateNames policy,
                                                const v1::UndeleteClientRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::UndeleteClientResponse> Respond() const;

 private:
  std::string id_;    // As text; empty: the name decides.
  std::string name_;  // The same.
  storage::DuplicateNames policy_ = storage::DuplicateNames::kReject;
  storage::Client client_;  // What it became.
};

}  // namespace backup::handlers
