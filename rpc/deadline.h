#pragma once

#include "absl/time/time.h"
#include "grpc/support/time.h"

namespace backup::rpc {

// `duration` from now, for whatever of gRPC takes a deadline: calls, alarms, waits for a state. On
// the monotonic clock: one of std::chrono::system_clock would come early, or never, if somebody
// sets the machine's clock meanwhile. Thread-safe.
gpr_timespec DeadlineAfter(absl::Duration duration);

}  // namespace backup::rpc
