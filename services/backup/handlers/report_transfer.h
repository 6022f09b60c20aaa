#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/clock.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Settles what a client makes of a file that it sent. Used by one thread at a time.
class ReportTransfer {
 public:
  // `corrupt_checksums`: wrong checksums are answered on purpose, so nothing is learned from
  // outcomes.
  static absl::StatusOr<ReportTransfer> Prepare(const Clock& clock, bool corrupt_checksums,
                                                const v1::ReportTransferRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::ReportTransferResponse> Respond() const;

  // Valid after Apply(): not if it was told before, or of an upload that failed.
  bool changed() const { return changed_; }
  bool may_have_dropped_a_blob() const {
    return changed_ && verdict_.outcome != storage::Outcome::kVerified;
  }

 private:
  storage::Verdict verdict_;
  absl::Time now_;
  bool changed_ = false;
};

}  // namespace backup::handlers
