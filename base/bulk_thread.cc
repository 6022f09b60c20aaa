#include "base/bulk_thread.h"

#include <sys/resource.h>

#include <utility>

namespace backup {
namespace {

// A tenth of the time that others get who want it too; all of it if nobody does.
constexpr int kNiceIncrement = 10;

thread_local bool is_bulk = false;

}  // namespace

void BecomeBulkThread() {
  if (std::exchange(is_bulk, true)) return;
  // Not the calling thread's own value: one that a bulk thread has made begins with that of bulk
  // threads. The first to come here is none.
  static const int nice_value = ::getpriority(PRIO_PROCESS, 0) + kNiceIncrement;
  // Of this thread alone, on Linux. Where a sandbox refuses it, small requests are only slower.
  ::setpriority(PRIO_PROCESS, 0, nice_value);
}

bool IsBulkThread() { return is_bulk; }

}  // namespace backup
