#include "bridge/net/deadlines.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::testing::Optional;

TEST(Deadlines, ArePassedInOrder) {
  Deadlines deadlines;
  deadlines.Set(1, -absl::Seconds(1));
  deadlines.Set(2, -absl::Seconds(2));
  deadlines.Set(3, absl::Hours(1));
  EXPECT_EQ(deadlines.WaitMilliseconds(), 0);
  EXPECT_THAT(deadlines.TakePassed(), Optional(2u));
  EXPECT_THAT(deadlines.TakePassed(), Optional(1u));
  EXPECT_EQ(deadlines.TakePassed(), std::nullopt);
  EXPECT_GT(deadlines.WaitMilliseconds(), 0);
}

TEST(Deadlines, AreReplacedAndCleared) {
  Deadlines deadlines;
  deadlines.Set(1, -absl::Seconds(1));
  deadlines.Set(1, absl::Hours(1));
  EXPECT_EQ(deadlines.TakePassed(), std::nullopt);
  deadlines.Clear(1);
  deadlines.Clear(1);
  EXPECT_EQ(deadlines.WaitMilliseconds(), -1);
}

TEST(Deadlines, InfiniteIsNone) {
  Deadlines deadlines;
  deadlines.Set(1, -absl::Seconds(1));
  deadlines.Set(1, absl::InfiniteDuration());
  EXPECT_EQ(deadlines.WaitMilliseconds(), -1);
}

}  // namespace
}  // namespace backup::bridge
