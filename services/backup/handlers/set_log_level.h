#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"

namespace backup::handlers {

// Changes what this process logs.
absl::StatusOr<v1::SetLogLevelResponse> SetLogLevel(const v1::SetLogLevelRequest& request);

}  // namespace backup::handlers
