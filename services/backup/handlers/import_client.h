#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "crypto/key_ring.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Takes over a client of another server. Used by one thread at a time.
class ImportClient {
 public:
  static absl::StatusOr<ImportClient> Prepare(const crypto::KeyRing& master_key, const Clock& clock,
                                              storage::DuplicateNames policy,
                                              const v1::ImportClientRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::ImportClientResponse> Respond() const;

 private:
  using Outcome = v1::ImportClientResponse;

  // What is to become of it. Reasons NAME_TAKEN, REKEY_REFUSED.
  absl::StatusOr<Outcome::Outcome> Decide(storage::Snapshot& snapshot) const;
  absl::StatusOr<Outcome::Outcome> DecideOnKnown(const storage::Client& known) const;

  storage::Client client_;  // As it would be added.
  storage::DuplicateNames policy_ = storage::DuplicateNames::kReject;
  bool validate_only_ = false;
  Outcome::Outcome outcome_ = Outcome::OUTCOME_UNSPECIFIED;
};

}  // namespace backup::handlers
