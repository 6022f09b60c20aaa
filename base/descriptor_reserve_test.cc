#include "base/descriptor_reserve.h"

#include <sys/resource.h>

#include "gtest/gtest.h"

namespace backup {
namespace {

class WithLimit {
 public:
  explicit WithLimit(rlim_t limit) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit lower = {limit, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~WithLimit() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_ = {};
};

TEST(DescriptorReserve, KeepsTheLastDescriptors) {
  const WithLimit limit(1024);
  EXPECT_TRUE(LeavesDescriptorReserve(3));
  EXPECT_TRUE(LeavesDescriptorReserve(991));
  EXPECT_FALSE(LeavesDescriptorReserve(992));
  EXPECT_FALSE(LeavesDescriptorReserve(1023));
}

TEST(DescriptorReserve, IsAQuarterOfALowLimit) {
  const WithLimit limit(64);
  EXPECT_TRUE(LeavesDescriptorReserve(47));
  EXPECT_FALSE(LeavesDescriptorReserve(48));
}

}  // namespace
}  // namespace backup
