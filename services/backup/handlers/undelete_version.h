#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/lifecycle.pb.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Takes one version of a file back from the trash. Used by one thread at a time.
class UndeleteVersion {
 public:
  static absl::StatusOr<UndeleteVersion> Prepare(const v1::UndeleteVersionRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::UndeleteVersionResponse> Respond() const;

 private:
  ClientId client_;
  std::string file_name_;
  int64_t version_id_ = 0;
  storage::Version version_;  // What it became.
};

}  // namespace backup::handlers
