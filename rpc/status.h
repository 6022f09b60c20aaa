#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace backup::rpc {

// The status as it goes over the wire: its code and message, and, if it carries a Reason, the
// google.rpc details that belong to it (ErrorInfo always; BadRequest, ResourceInfo,
// PreconditionFailure, QuotaFailure, RetryInfo by reason).
grpc::Status ToGrpc(const absl::Status& status);

// The reverse; the Reason is found again from the ErrorInfo. A code that gRPC does not define
// becomes Unknown.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace backup::rpc
