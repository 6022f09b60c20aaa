#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/clock.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Notes what was observed of how an old client speaks. Used by one thread at a time.
class ObserveClient {
 public:
  static absl::StatusOr<ObserveClient> Prepare(const Clock& clock,
                                               const v1::ObserveClientRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::ObserveClientResponse> Respond() const;

 private:
  ClientId id_;
  storage::LegacyProfile observed_;
  storage::LegacyProfile known_;  // What it became.
};

}  // namespace backup::handlers
