#include "bridge/net/defender.h"

#include <string>

#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

const MonotonicTime kStart = MonotonicTime() + std::chrono::hours(1);

MonotonicTime At(absl::Duration after) { return kStart + absl::ToChronoNanoseconds(after); }

class DefenderTest : public ::testing::Test {
 protected:
  // Whether one more offence earns a ban.
  bool EarnsBan(absl::string_view address, absl::Duration after = {}) {
    return defender_.NoteOffence(*IpAddress::Parse(address), Offence::kMalformedHead, At(after))
        .has_value();
  }
  void NoteServed(absl::string_view address, absl::Duration after = {}) {
    defender_.NoteServed(*IpAddress::Parse(address), At(after));
  }

  BanList bans_{BanListOptions()};
  Defender defender_{{3, absl::Seconds(30)}, bans_};
};

TEST_F(DefenderTest, BansWhoCommitsTooManyOffences) {
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(EarnsBan("1.2.3.4"));
  const auto earned =
      defender_.NoteOffence(*IpAddress::Parse("1.2.3.4"), Offence::kIncompleteHead, kStart);
  ASSERT_TRUE(earned);
  EXPECT_EQ(earned->network.text(), "1.2.3.4");
  EXPECT_EQ(earned->reason, "incomplete_head");
  EXPECT_TRUE(bans_.Contains(*IpAddress::Parse("1.2.3.4"), kStart));
  // It is banned already.
  EXPECT_FALSE(EarnsBan("1.2.3.4"));
}

TEST_F(DefenderTest, EachAddressAndEach64BitsCountOnTheirOwn) {
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(EarnsBan("2001:db8::1"));
  EXPECT_FALSE(EarnsBan("2001:db8:0:1::1"));
  EXPECT_FALSE(EarnsBan("1.2.3.4"));
  EXPECT_TRUE(EarnsBan("2001:db8::2"));
}

TEST_F(DefenderTest, WhoSeldomErrsIsNeverBanned) {
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(EarnsBan("1.2.3.4", i * absl::Seconds(10)));
}

TEST_F(DefenderTest, AfterABanOneMoreIsEnough) {
  for (int i = 0; i < 3; ++i) EarnsBan("1.2.3.4");
  EXPECT_TRUE(EarnsBan("1.2.3.4"));
  // But for what came back meanwhile.
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(EarnsBan("1.2.3.4", absl::Minutes(1)));
  EXPECT_TRUE(EarnsBan("1.2.3.4", absl::Minutes(1)));
}

TEST_F(DefenderTest, AnAddressWithAClientThatWasServedIsTrusted) {
  NoteServed("1.2.3.4");
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(EarnsBan("1.2.3.4"));
  EXPECT_FALSE(EarnsBan("1.2.3.4", Defender::kTrust - absl::Seconds(1)));
  NoteServed("1.2.3.4", absl::Hours(1));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(EarnsBan("1.2.3.4", Defender::kTrust));
  for (int i = 0; i < 3; ++i) EarnsBan("1.2.3.4", Defender::kTrust + absl::Hours(1));
  EXPECT_TRUE(EarnsBan("1.2.3.4", Defender::kTrust + absl::Hours(1)));
}

TEST(Defender, MayBeOff) {
  BanList bans{BanListOptions()};
  Defender defender(Rate(), bans);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(
        defender.NoteOffence(*IpAddress::Parse("1.2.3.4"), Offence::kMalformedHead, kStart));
  }
}

}  // namespace
}  // namespace backup::bridge
