#include "base/descriptor_reserve.h"

#include <sys/resource.h>

#include <algorithm>

namespace backup {
namespace {

constexpr rlim_t kReserve = 32;
// With a very low limit the reserve is this part of it.
constexpr rlim_t kLargestPart = 4;

}  // namespace

bool LeavesDescriptorReserve(int fd) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return true;
  const rlim_t reserve = std::min(kReserve, limit.rlim_cur / kLargestPart);
  return static_cast<rlim_t>(fd) < limit.rlim_cur - reserve;
}

}  // namespace backup
