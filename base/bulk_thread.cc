#include "base/bulk_thread.h"

#include <unistd.h>

#include <utility>

namespace backup {
namespace {

// A tenth of the time that others get who want it too; all of it if nobody does.
constexpr int kNiceIncrement = 10;

thread_local bool is_bulk = false;

}  // namespace

void BecomeBulkThread() {
  if (std::exchange(is_bulk, true)) return;
  // Of this thread alone, on Linux. Where a sandbox refuses it, small requests are only slower.
  [[maybe_unused]] const int nice_value = ::nice(kNiceIncrement);
}

bool IsBulkThread() { return is_bulk; }

}  // namespace backup
