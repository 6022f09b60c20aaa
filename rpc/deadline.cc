#include "rpc/deadline.h"

namespace backup::rpc {

gpr_timespec DeadlineAfter(absl::Duration duration) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(duration), GPR_TIMESPAN));
}

}  // namespace backup::rpc
