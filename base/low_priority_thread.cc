#include "base/low_priority_thread.h"

#include <sys/resource.h>

#include <utility>

namespace backup {
namespace {

// A tenth of the time that others get who want it too; all of it if nobody does.
constexpr int kNiceIncrement = 10;

thread_local bool is_low_priority = false;

}  // namespace

void BecomeLowPriority() {
  if (std::exchange(is_low_priority, true)) return;
  // Not the calling thread's own value: one that a low-priority thread has made begins with that of
  // low-priority threads. The first thread that comes here is not one.
  static const int nice_value = ::getpriority(PRIO_PROCESS, 0) + kNiceIncrement;
  // Of this thread alone, on Linux. Where a sandbox refuses it, small requests are only slower.
  ::setpriority(PRIO_PROCESS, 0, nice_value);
}

bool IsLowPriority() { return is_low_priority; }

}  // namespace backup
