#include "storage/catalog/quota.h"

#include <limits>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::storage {
namespace {

using ::testing::ElementsAre;
using testing::HasReason;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

QuotaUse UseOf(const QuotaLimits& limits, const Usage& used) {
  return {{ClientId(), QuotaKind::kClient}, limits, used};
}

TEST(Quota, LetsAsMuchComeAsAHardLimitLeaves) {
  const QuotaUse use = UseOf({.hard_bytes = 100, .hard_files = 3}, {90, 2});
  EXPECT_OK(CheckRoom(use, {10, 1}));
  EXPECT_THAT(CheckRoom(use, {11, 0}), HasReason(Reason::kClientQuota));
  EXPECT_THAT(CheckRoom(use, {0, 2}), HasReason(Reason::kClientQuota));
  EXPECT_THAT(CheckRoom(use, {kMax, 0}), HasReason(Reason::kClientQuota));
}

TEST(Quota, HasNoLimitThatIsZero) {
  EXPECT_OK(CheckRoom(UseOf({}, {90, 2}), {kMax, kMax}));
  EXPECT_THAT(LimitsPassed(UseOf({}, {90, 2}), {10, 10}), IsEmpty());
}

TEST(Quota, RefusesNothingThatAddsNothing) {
  const QuotaUse use = UseOf({.hard_bytes = 100, .hard_files = 3}, {200, 9});
  EXPECT_OK(CheckRoom(use, {0, 0}));
  EXPECT_THAT(CheckRoom(use, {1, 0}), HasReason(Reason::kClientQuota));
}

TEST(Quota, SaysWhoseLimitIsMetAndWhatIsUsed) {
  const absl::Status refused = CheckRoom(
      {{ClientId(), QuotaKind::kStore}, {.hard_files = 3}, {200, 3}}, {.bytes = 1, .files = 1});
  EXPECT_THAT(refused.message(),
              HasSubstr("the quota of the store does not allow it: hard_files is 3, 3 are used"));
  EXPECT_EQ(SubjectOf(refused), "the store");
}

TEST(Quota, TellsOfEachSoftLimitOnceWhileMoreComes) {
  const QuotaLimits limits{.soft_bytes = 100, .soft_files = 3};
  EXPECT_THAT(LimitsPassed(UseOf(limits, {90, 2}), {10, 1}), IsEmpty());
  const QuotaUse use = UseOf(limits, {100, 3});
  EXPECT_THAT(LimitsPassed(use, {1, 1}),
              ElementsAre(PassedLimit{use.holder, "soft_bytes", 100, 101},
                          PassedLimit{use.holder, "soft_files", 3, 4}));
  EXPECT_THAT(LimitsPassed(UseOf(limits, {101, 4}), {1, 1}), IsEmpty());
}

TEST(Quota, CountsAFileOnce) {
  QuotaUse use = UseOf({}, {});
  EXPECT_EQ(AddedBy(use, 7), (Usage{7, 0}));
  use.is_new_file = true;
  EXPECT_EQ(AddedBy(use, 7), (Usage{7, 1}));
}

}  // namespace
}  // namespace backup::storage
