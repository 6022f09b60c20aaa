#include "base/descriptor_reserve.h"

#include <sys/resource.h>

#include "absl/cleanup/cleanup.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(DescriptorReserve, IsTheLastSixteenButAtMostAQuarter) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const absl::Cleanup restore = [&] { ::setrlimit(RLIMIT_NOFILE, &before); };
  for (const auto& [limit, first] :
       std::initializer_list<std::pair<rlim_t, int>>{{1024, 1008}, {64, 48}, {40, 30}}) {
    const rlimit lower = {limit, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
    EXPECT_EQ(FirstReservedDescriptor(), first);
  }
}

}  // namespace
}  // namespace backup
