#include "base/flag_validators.h"

#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(FlagValidators, TakeDurationsOfZeroAndMore) {
  for (const char* good : {"0s", "300ms", "30s", "1h30m", "inf"}) {
    EXPECT_TRUE(ValidateDuration("flag", good)) << good;
  }
  for (const char* bad : {"", "30", "-1s", "soon", "-inf"}) {
    EXPECT_FALSE(ValidateDuration("flag", bad)) << bad;
  }
  EXPECT_EQ(DurationFlag("1m30s"), absl::Seconds(90));
}

TEST(FlagValidators, TakeThreeStatesOfWhichOneMeansTheOther) {
  for (const char* good : {"auto", "true", "false"}) EXPECT_TRUE(ValidateTristate("flag", good));
  EXPECT_FALSE(ValidateTristate("flag", "maybe"));
  EXPECT_TRUE(TristateFlag("auto", true));
  EXPECT_FALSE(TristateFlag("auto", false));
  EXPECT_TRUE(TristateFlag("true", false));
  EXPECT_FALSE(TristateFlag("false", true));
}

TEST(FlagValidators, KnowWhichNumbersAreLargeEnough) {
  EXPECT_TRUE(ValidateNotNegative("flag", 0));
  EXPECT_FALSE(ValidateNotNegative("flag", -1));
  EXPECT_TRUE(ValidatePositive("flag", 1));
  EXPECT_FALSE(ValidatePositive("flag", 0));
}

TEST(FlagValidators, TakeOnlyWhatIsAllowed) {
  EXPECT_TRUE(IsOneOf("pin", {"pin", "allow"}));
  EXPECT_FALSE(IsOneOf("", {"pin", "allow"}));
}

}  // namespace
}  // namespace backup
