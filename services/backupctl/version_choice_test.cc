#include "services/backupctl/version_choice.h"

#include <string>
#include <utility>
#include <vector>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/fake_service.h"

namespace backup::ctl {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::backup::testing::StatusIs;
using ::testing::ElementsAre;
using testing::FakeService;
using testing::kClientId;

TEST(ParseMoment, TakesRfc3339AndLocalTimes) {
  const absl::TimeZone local = absl::FixedTimeZone(2 * 3600);
  const absl::Time day = absl::FromCivil(absl::CivilDay(2026, 5, 1), local);
  EXPECT_THAT(ParseMoment("2026-05-01", local), IsOkAndHolds(day));
  EXPECT_THAT(ParseMoment("2026-05-01 18:30", local),
              IsOkAndHolds(day + absl::Hours(18) + absl::Minutes(30)));
  EXPECT_THAT(ParseMoment("2026-05-01 00:00:01.5", local),
              IsOkAndHolds(day + absl::Milliseconds(1500)));
  EXPECT_THAT(ParseMoment("2026-05-01T00:00:00Z", local), IsOkAndHolds(day + absl::Hours(2)));
  EXPECT_THAT(ParseMoment("2026-05-01T00:00:00.25+01:00", local),
              IsOkAndHolds(day + absl::Hours(1) + absl::Milliseconds(250)));
  for (const char* text : {"", "yesterday", "2026-13-01", "2026-05-01 25:00", "2026-05",
                           "infinite-future", "2026-05-01T00:00:00", "2026-05-01 18:30 x"}) {
    EXPECT_THAT(ParseMoment(text, local), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

class ChosenVersionsTest : public ::testing::Test {
 protected:
  VersionChoice Files(const std::vector<std::string>& patterns) {
    VersionChoice choice;
    for (const std::string& pattern : patterns) {
      absl::StatusOr<Glob> glob = Glob::Parse(pattern);
      EXPECT_OK(glob);
      choice.files.push_back(*std::move(glob));
    }
    return choice;
  }
  ChosenVersions Choose(VersionChoice choice) {
    return ChosenVersions(service_.connection(), kClientId, std::move(choice));
  }
  static std::vector<std::string> NamesOf(ChosenVersions& versions) {
    std::vector<std::string> names;
    while (true) {
      const auto version = versions.Next();
      EXPECT_OK(version);
      if (!version.ok() || !*version) return names;
      names.push_back((*version)->file_name());
    }
  }

  FakeService service_;
};

TEST_F(ChosenVersionsTest, AreThoseOfAllFilesThatAPatternFits) {
  for (const char* name : {"a.txt", "b.bin", "c.txt", "d.bin", "e.txt"})
    service_.catalog.Add(name, "content");
  service_.catalog.AddUnverified("f.txt");
  ChosenVersions versions = Choose(Files({"*.txt", "d*", "nothing"}));
  EXPECT_THAT(NamesOf(versions), ElementsAre("a.txt", "c.txt", "d.bin", "e.txt"));
  EXPECT_EQ(versions.without_version(), 1);
  EXPECT_THAT(versions.IdlePatterns(), ElementsAre("nothing"));
}

TEST_F(ChosenVersionsTest, AVersionIsForOneFileOnly) {
  service_.catalog.Add("a", "content");
  service_.catalog.Add("b", "content");
  VersionChoice one = Files({"b"});
  one.version_id = 7;
  ChosenVersions versions = Choose(std::move(one));
  const auto version = versions.Next();
  ASSERT_OK(version);
  EXPECT_EQ((*version)->version_id(), 7);
  const auto end = versions.Next();
  ASSERT_OK(end);
  EXPECT_FALSE(end->has_value());
  VersionChoice two = Files({"?"});
  two.version_id = 7;
  EXPECT_THAT(Choose(std::move(two)).Next(), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup::ctl
