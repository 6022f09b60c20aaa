#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/clock.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Makes a client known by name. Used by one thread at a time.
class RegisterClient {
 public:
  static absl::StatusOr<RegisterClient> Prepare(const Clock& clock, storage::DuplicateNames policy,
                                                const v1::RegisterClientRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::RegisterClientResponse> Respond() const;

 private:
  std::string name_;
  ClientId new_id_;
  storage::DuplicateNames policy_ = storage::DuplicateNames::kReject;
  absl::Time now_;
  storage::Client client_;  // What it became.
};

}  // namespace backup::handlers
