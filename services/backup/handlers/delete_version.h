#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "base/clock.h"
#include "services/backup/handlers/trash.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Deletes one version of a file. Used by one thread at a time.
class DeleteVersion {
 public:
  static absl::StatusOr<DeleteVersion> Prepare(const Clock& clock, const TrashPolicy& policy,
                                               const v1::DeleteVersionRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::DeleteVersionResponse> Respond() const;

 private:
  ClientId client_;
  std::string file_name_;
  int64_t version_id_ = 0;
  TrashPolicy policy_;
  storage::Deletion deletion_;
};

}  // namespace backup::handlers
