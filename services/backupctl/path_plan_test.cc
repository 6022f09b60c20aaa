#include "services/backupctl/path_plan.h"

#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::ctl {
namespace {

using ::backup::testing::StatusIs;

// Paths in the order of the names; those that are no longer the name's are marked by a "!".
std::string Planned(PathPlan& plan, absl::string_view name) {
  const auto place = plan.Add(name, [](const std::string&) { return true; });
  EXPECT_OK(place);
  return place.ok() ? (place->renamed ? "!" : "") + place->path : "";
}

TEST(PathPlan, TellsWhichNamesAreNotKept) {
  PathPlan plan({});
  EXPECT_EQ(Planned(plan, "/etc/hostname"), "etc/hostname");
  EXPECT_EQ(Planned(plan, "100% \\ ."), "100% \\ .");
  EXPECT_EQ(Planned(plan, "../x"), "!..%2Fx");
  EXPECT_EQ(Planned(plan, "/"), "!%2F");
}

TEST(PathPlan, PutsNoFileInTheWayOfAFolder) {
  PathPlan plan({});
  EXPECT_EQ(Planned(plan, "/c/d"), "c/d");
  EXPECT_EQ(Planned(plan, "a"), "a");
  EXPECT_EQ(Planned(plan, "a/b"), "!a%2Fb");
  EXPECT_EQ(Planned(plan, "a/b/c"), "!a%2Fb%2Fc");
  EXPECT_EQ(Planned(plan, "c"), "!c~2");
}

TEST(PathPlan, PutsNoFileInAnothersPlace) {
  PathPlan plan({});
  EXPECT_EQ(Planned(plan, "//a/b"), "a/b");
  EXPECT_EQ(Planned(plan, "/a/b"), "!%2Fa%2Fb");
  EXPECT_EQ(Planned(plan, "a/b"), "!a%2Fb");
  EXPECT_EQ(Planned(plan, "a%2Fb"), "!a%2Fb~2");
  EXPECT_EQ(Planned(plan, "A/B"), "A/B");
}

TEST(PathPlan, TellsUpperFromLowerCaseUnlessNamesAreToBePortable) {
  PathPlan plan({.portable = true});
  EXPECT_EQ(Planned(plan, "README"), "README");
  EXPECT_EQ(Planned(plan, "Readme"), "!Readme~2");
  EXPECT_EQ(Planned(plan, "readme/x"), "!readme%2Fx");
  EXPECT_EQ(Planned(plan, "end."), "!end%2E");
}

TEST(PathPlan, GoesAroundWhatIsThereAndGivesUpInTheEnd) {
  PathPlan plan({});
  const auto taken = [](const std::string& path) { return path != "f~3"; };
  const auto place = plan.Add("f", [&](const std::string& path) { return !taken(path); });
  ASSERT_OK(place);
  EXPECT_EQ(place->path, "f~3");
  EXPECT_TRUE(place->renamed);
  EXPECT_THAT(plan.Add("g", [](const std::string&) { return false; }),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(plan.Add("h", [](const std::string&) { return absl::InternalError("disk"); }),
              StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace backup::ctl
