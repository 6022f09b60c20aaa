#include "bridge/net/ban_list.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const MonotonicTime kStart = MonotonicTime() + std::chrono::hours(1);

MonotonicTime At(absl::Duration after) { return kStart + absl::ToChronoNanoseconds(after); }
IpAddress Address(absl::string_view text) { return *IpAddress::Parse(text); }
IpNetwork Network(absl::string_view text) { return *IpNetwork::Parse(text); }

class BanListTest : public ::testing::Test {
 protected:
  bool IsBanned(absl::string_view address, absl::Duration after = {}) {
    return bans_.Contains(Address(address), At(after));
  }
  // How long it is banned for it; zero: not at all.
  absl::Duration Add(absl::string_view address, absl::Duration after = {}) {
    const auto earned = bans_.Add(Address(address), "tls", At(after));
    return earned ? earned->duration : absl::ZeroDuration();
  }
  std::vector<EarnedBan> Untold(absl::Duration after = {}) { return bans_.Untold(At(after), 100); }

  BanList bans_{{.first = absl::Minutes(1),
                 .longest = absl::Minutes(5),
                 .never = *IpNetworks::Parse("10.0.0.0/8,2001:db8::7")}};
};

TEST_F(BanListTest, AnAddressIsBannedForAsLongAsItEarned) {
  EXPECT_FALSE(IsBanned("1.2.3.4"));
  EXPECT_EQ(Add("1.2.3.4"), absl::Minutes(1));
  EXPECT_TRUE(IsBanned("1.2.3.4", absl::Seconds(59)));
  EXPECT_FALSE(IsBanned("1.2.3.5"));
  EXPECT_FALSE(IsBanned("1.2.3.4", absl::Seconds(60)));
}

TEST_F(BanListTest, OfIpv6ItIs64Bits) {
  const auto earned = bans_.Add(Address("2001:db8:1:2:3::4"), "tls", kStart);
  EXPECT_EQ(earned->network.text(), "2001:db8:1:2::/64");
  EXPECT_TRUE(IsBanned("2001:db8:1:2::9"));
  EXPECT_FALSE(IsBanned("2001:db8:1:3::9"));
}

TEST_F(BanListTest, EachTimeInARowIsTwiceAsLong) {
  EXPECT_EQ(Add("1.2.3.4"), absl::Minutes(1));
  EXPECT_EQ(Add("1.2.3.4", absl::Seconds(30)), absl::ZeroDuration());  // It is banned.
  EXPECT_EQ(Add("1.2.3.4", absl::Minutes(1)), absl::Minutes(2));
  EXPECT_EQ(Add("1.2.3.4", absl::Minutes(3)), absl::Minutes(4));
  EXPECT_EQ(Add("1.2.3.4", absl::Minutes(7)), absl::Minutes(5));
  EXPECT_EQ(Add("1.2.3.5", absl::Minutes(7)), absl::Minutes(1));
  // It ended at 12 minutes, and is forgotten a day after that.
  EXPECT_EQ(Add("1.2.3.4", BanList::kMemory + absl::Minutes(11)), absl::Minutes(5));
  EXPECT_EQ(Add("1.2.3.4", 2 * BanList::kMemory + absl::Minutes(17)), absl::Minutes(1));
}

TEST_F(BanListTest, NetworksThatAreNeverBannedStayLetIn) {
  EXPECT_EQ(Add("10.1.2.3"), absl::ZeroDuration());
  EXPECT_EQ(Add("2001:db8::8"), absl::ZeroDuration());  // Its 64 bits have one that never is.
  EXPECT_THAT(Untold(), IsEmpty());
  const auto never = bans_.Replace({{Network("10.1.0.0/16"), absl::InfiniteDuration(), 0},
                                    {Network("2001:db8::/32"), absl::InfiniteDuration(), 0},
                                    {Network("10.2.0.1"), absl::ZeroDuration(), 1}},
                                   kStart);
  EXPECT_THAT(never, ElementsAre(Network("10.1.0.0/16"), Network("2001:db8::/32")));
  EXPECT_FALSE(IsBanned("10.1.2.3"));
  EXPECT_FALSE(IsBanned("2001:db8::7"));
  EXPECT_TRUE(IsBanned("2001:db8::8"));
  // It was said.
  EXPECT_THAT(bans_.Replace({{Network("10.1.0.0/16"), absl::InfiniteDuration(), 0}}, kStart),
              IsEmpty());
}

TEST_F(BanListTest, WhatOthersKnowHoldsHere) {
  bans_.Replace({{Network("1.2.0.0/16"), absl::Minutes(10), 0},
                 {Network("5.6.7.8"), absl::InfiniteDuration(), 0},
                 {Network("2001:db8::/32"), absl::Minutes(10), 0}},
                kStart);
  EXPECT_TRUE(IsBanned("1.2.3.4", absl::Minutes(9)));
  EXPECT_FALSE(IsBanned("1.2.3.4", absl::Minutes(10)));
  EXPECT_FALSE(IsBanned("1.3.0.0"));
  EXPECT_TRUE(IsBanned("5.6.7.8", absl::Hours(24 * 365)));
  EXPECT_TRUE(IsBanned("2001:db8:7::1"));
  bans_.Replace({}, kStart);
  EXPECT_FALSE(IsBanned("1.2.3.4"));
}

TEST_F(BanListTest, ANetworkOfIpv6HasNoAddressOfIpv4) {
  bans_.Replace({{Network("::/16"), absl::InfiniteDuration(), 0}}, kStart);
  EXPECT_TRUE(IsBanned("::1"));
  EXPECT_FALSE(IsBanned("1.2.3.4"));
}

TEST_F(BanListTest, WhatWasEarnedElsewhereCounts) {
  bans_.Replace({{Network("1.2.3.4"), absl::ZeroDuration(), 2}}, kStart);
  EXPECT_FALSE(IsBanned("1.2.3.4"));
  EXPECT_EQ(Add("1.2.3.4"), absl::Minutes(4));
}

TEST_F(BanListTest, WhatIsEarnedIsToldOnce) {
  Add("1.2.3.4");
  const std::vector<EarnedBan> told = Untold(absl::Seconds(20));
  ASSERT_EQ(told.size(), 1);
  EXPECT_EQ(told[0].network.text(), "1.2.3.4");
  EXPECT_EQ(told[0].duration, absl::Seconds(40));
  EXPECT_EQ(told[0].strikes, 1);
  EXPECT_EQ(told[0].reason, "tls");
  bans_.NoteTold(told);
  EXPECT_THAT(Untold(absl::Seconds(20)), IsEmpty());
  EXPECT_TRUE(IsBanned("1.2.3.4"));
  // Lifted by an operator, or kept by the service.
  bans_.Replace({}, kStart);
  EXPECT_FALSE(IsBanned("1.2.3.4"));
  EXPECT_EQ(Add("1.2.3.4"), absl::Minutes(1));
}

TEST_F(BanListTest, WhatWasNotToldYetStaysWhateverTheServiceTells) {
  Add("1.2.3.4");
  bans_.Replace({{Network("1.2.3.4"), absl::Seconds(5), 7}}, kStart);
  EXPECT_TRUE(IsBanned("1.2.3.4", absl::Seconds(50)));
  EXPECT_EQ(Untold().at(0).strikes, 7);
}

TEST_F(BanListTest, WhatIsEarnedWhileTheOneBeforeIsToldIsToldToo) {
  Add("1.2.3.4");
  const std::vector<EarnedBan> first = Untold();
  Add("1.2.3.4", absl::Minutes(1));
  bans_.NoteTold(first);
  EXPECT_EQ(Untold(absl::Minutes(1)).at(0).strikes, 2);
}

TEST_F(BanListTest, ThereAreOnlySoManyAndTheOldestAreForgotten) {
  for (size_t i = 0; i <= BanList::kMaxBans; ++i)
    Add(absl::StrCat("1.", i >> 16, ".", (i >> 8) & 255, ".", i & 255));
  EXPECT_TRUE(IsBanned("1.0.0.0"));
  EXPECT_FALSE(IsBanned("1.0.32.0"));
  EXPECT_EQ(bans_.Untold(kStart, 10).size(), 10);
  const absl::Duration later = BanList::kMemory + absl::Minutes(1);
  EXPECT_EQ(Add("1.0.32.0", later), absl::Minutes(1));
  EXPECT_EQ(bans_.Untold(At(later), BanList::kMaxBans).size(), 1);
}

}  // namespace
}  // namespace backup::bridge
