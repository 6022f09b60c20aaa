#include "storage/catalog/retention.h"

#include <string>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::storage {
namespace {

using testing::HasReason;

TEST(CheckRemovable, SaysUntilWhenSomethingMustBeKept) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_OK(CheckRemovable(std::nullopt, now, "a"));
  EXPECT_OK(CheckRemovable(now, now, "a"));
  const absl::Status refused = CheckRemovable(now + absl::Seconds(1), now, "a");
  EXPECT_THAT(refused, HasReason(Reason::kRetained));
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("2023-11-14T22:13:21Z"));
  EXPECT_THAT(CheckRemovable(now, absl::InfinitePast(), "a"), HasReason(Reason::kRetained));
  EXPECT_OK(CheckRemovable(std::nullopt, absl::InfinitePast(), "a"));
}

}  // namespace
}  // namespace backup::storage
