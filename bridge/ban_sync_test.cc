#include "bridge/service/ban_sync.h"

#include <string>
#include <vector>

#include "bridge/testing/test_bridge.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using testing::TestBridge;

constexpr absl::Duration kInterval = absl::Milliseconds(5);

class BanSyncTest : public ::testing::Test {
 protected:
  BanList& bans() { return bridge_.listener().bans(); }
  static IpAddress Address(const char* text) { return *IpAddress::Parse(text); }
  bool IsBanned(const char* address) {
    return bans().Contains(Address(address), MonotonicClock::now());
  }
  void Earn(const char* address) { bans().Add(Address(address), "tls", MonotonicClock::now()); }
  static v1::KnownBan Known(const std::string& network, int64_t seconds) {
    v1::KnownBan ban;
    ban.set_network(network);
    ban.mutable_remaining()->set_seconds(seconds);
    return ban;
  }
  // Waits until the service was asked so many times more.
  void WaitForSyncs(int count) {
    const int before = bridge_.service().syncs();
    bridge_.service().WaitUntil([&] { return bridge_.service().syncs() >= before + count; });
  }

  TestBridge bridge_;
};

TEST_F(BanSyncTest, WhatTheServiceTellsHoldsUntilItTellsOtherwise) {
  v1::KnownBan endless = Known("1.2.0.0/16", 0);
  endless.clear_remaining();
  bridge_.service().SetBans({endless, Known("5.6.7.8", 3600), Known("5.6.7.9", 0)});
  const BanSync sync(bridge_.backend(), bans(), kInterval);
  WaitForSyncs(2);
  EXPECT_TRUE(IsBanned("1.2.3.4"));
  EXPECT_TRUE(IsBanned("5.6.7.8"));
  EXPECT_FALSE(IsBanned("5.6.7.9"));
  // Nor is what did not change told again.
  WaitForSyncs(2);
  EXPECT_TRUE(IsBanned("1.2.3.4"));
  bridge_.service().SetBans({Known("5.6.7.8", 3600)});
  WaitForSyncs(2);
  EXPECT_FALSE(IsBanned("1.2.3.4"));
  EXPECT_TRUE(IsBanned("5.6.7.8"));
}

TEST_F(BanSyncTest, WhatIsEarnedIsToldOnce) {
  Earn("1.2.3.4");
  const BanSync sync(bridge_.backend(), bans(), kInterval);
  WaitForSyncs(3);
  const std::vector<v1::EarnedBan> earned = bridge_.service().earned_bans();
  ASSERT_EQ(earned.size(), 1);
  EXPECT_EQ(earned[0].network(), "1.2.3.4");
  EXPECT_EQ(earned[0].reason(), "tls");
  EXPECT_EQ(earned[0].strikes(), 1);
  EXPECT_GE(earned[0].duration().seconds(), 1);
}

TEST_F(BanSyncTest, WithoutTheServiceBansGoOnAndAreToldLater) {
  bridge_.service().SetBans({Known("5.6.7.8", 3600)});
  const BanSync sync(bridge_.backend(), bans(), kInterval);
  WaitForSyncs(2);
  bridge_.server().Stop();
  Earn("1.2.3.4");
  EXPECT_TRUE(IsBanned("1.2.3.4"));
  EXPECT_TRUE(IsBanned("5.6.7.8"));
  bridge_.server().Start();
  bridge_.service().WaitUntil([&] { return !bridge_.service().earned_bans().empty(); });
  EXPECT_TRUE(IsBanned("5.6.7.8"));
}

}  // namespace
}  // namespace backup::bridge
