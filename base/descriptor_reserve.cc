#include "base/descriptor_reserve.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "glog/logging.h"

namespace backup {
namespace {

constexpr rlim_t kReserve = 16;
// Of a low limit at most this part.
constexpr rlim_t kLargestPart = 4;

}  // namespace

int FirstReservedDescriptor() {
  rlimit limit = {};
  PCHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlim_t first = limit.rlim_cur - std::min(kReserve, limit.rlim_cur / kLargestPart);
  return static_cast<int>(std::min<rlim_t>(first, std::numeric_limits<int>::max()));
}

}  // namespace backup
