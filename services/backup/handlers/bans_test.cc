#include "services/backup/handlers/bans.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/limits.h"
#include "storage/memory/memory_catalog.h"

namespace backup::handlers {
namespace {

using ::testing::ElementsAre;
using testing::HasReason;
using ::testing::IsEmpty;

constexpr char kAddress[] = "10.1.2.3";

class BansTest : public ::testing::Test {
 protected:
  absl::Time now() const { return clock_.Now(); }
  void Pass(absl::Duration time) { clock_.Advance(time); }

  absl::StatusOr<v1::Ban> Add(const std::string& network, absl::Duration duration = {}) {
    v1::AddBanRequest request;
    request.set_network(network);
    request.set_reason("scans");
    if (duration != absl::ZeroDuration()) SetDuration(duration, *request.mutable_duration());
    const auto response = Transact(
        catalog_, [&] { return AddBan::Prepare(now(), "CN=anna at 10.0.0.9:1", request); });
    if (!response.ok()) return response.status();
    return response->ban();
  }
  absl::StatusOr<bool> Remove(const std::string& network) {
    v1::RemoveBanRequest request;
    request.set_network(network);
    const auto response = Transact(catalog_, [&] { return RemoveBan::Prepare(request); });
    if (!response.ok()) return response.status();
    return response->was_there();
  }
  static v1::EarnedBan EarnedBy(const std::string& network, absl::Duration duration = kMinute,
                                int64_t strikes = 1) {
    v1::EarnedBan earned;
    earned.set_network(network);
    earned.set_reason("malformed_head");
    earned.set_strikes(strikes);
    SetDuration(duration, *earned.mutable_duration());
    return earned;
  }
  absl::Status Earn(const std::vector<v1::EarnedBan>& earned) {
    v1::SyncBansRequest request;
    for (const v1::EarnedBan& one : earned) *request.add_earned() = one;
    return Transact(catalog_, [&] { return NoteEarnedBans::Prepare(now(), "CN=bridge", request); })
        .status();
  }
  v1::SyncBansResponse Sync(const std::string& version = "") {
    v1::SyncBansRequest request;
    request.set_version(version);
    return catalog_
        .Read([&](storage::Snapshot& snapshot) { return SyncBans(snapshot, now(), request); })
        .value();
  }
  v1::ListBansResponse List(int page_size = 0, const std::string& token = "") {
    v1::ListBansRequest request;
    request.set_page_size(page_size);
    request.set_page_token(token);
    return catalog_
        .Read([&](storage::Snapshot& snapshot) { return ListBans(snapshot, now(), request); })
        .value();
  }
  std::vector<std::string> Networks() {
    std::vector<std::string> networks;
    const v1::ListBansResponse list = List();
    for (const v1::Ban& ban : list.bans()) networks.push_back(ban.network());
    return networks;
  }

  // With as many as there may be, which end one after the other.
  void Fill(storage::BanSource source) {
    ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
      storage::Ban ban;
      ban.start_time = now();
      ban.source = source;
      for (int i = 0; i < kMaxBans; ++i) {
        ban.network = absl::StrCat("10.9.", i / 256, ".", i % 256);
        ban.end_time = now() + kMinute + i * absl::Milliseconds(1);
        if (const absl::Status set = transaction.SetBan(ban); !set.ok()) return set;
      }
      return absl::OkStatus();
    }));
  }

  static constexpr absl::Duration kMinute = absl::Minutes(1);
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  storage::MemoryCatalog catalog_;
};

TEST_F(BansTest, OfAnOperatorHoldUntilTheyAreLifted) {
  const v1::Ban ban = Add("2001:db8::/32").value();
  EXPECT_EQ(ban.network(), "2001:db8::/32");
  EXPECT_EQ(ban.source(), v1::Ban::OPERATOR);
  EXPECT_EQ(ban.author(), "CN=anna at 10.0.0.9:1");
  EXPECT_EQ(ban.reason(), "scans");
  EXPECT_FALSE(ban.has_end_time());
  Pass(absl::Hours(24 * 365));
  EXPECT_EQ(List().bans(0).SerializeAsString(), ban.SerializeAsString());
  EXPECT_FALSE(Sync().bans(0).has_remaining());
  EXPECT_THAT(Remove("2001:db8::/32"), testing::IsOkAndHolds(true));
  EXPECT_THAT(Networks(), IsEmpty());
  EXPECT_TRUE(Sync().bans().empty());
  EXPECT_THAT(Remove("2001:db8::/32"), testing::IsOkAndHolds(false));
}

TEST_F(BansTest, OfAnOperatorMayEndByThemselves) {
  ASSERT_OK(Add(kAddress, absl::Hours(2)));
  Pass(absl::Hours(1));
  EXPECT_EQ(Sync().bans(0).remaining().seconds(), 3600);
  Pass(absl::Hours(1));
  EXPECT_THAT(Networks(), IsEmpty());
}

TEST_F(BansTest, ANetworkIsWrittenInOneWay) {
  EXPECT_EQ(Add("::ffff:10.0.0.0/104")->network(), "10.0.0.0/8");
  EXPECT_EQ(Add("10.1.2.3/32")->network(), kAddress);
  EXPECT_THAT(Remove("10.0.0.0/8"), testing::IsOkAndHolds(true));
  EXPECT_THAT(Remove("::ffff:10.1.2.3"), testing::IsOkAndHolds(true));
}

TEST_F(BansTest, WhatIsWrongIsRefused) {
  for (const char* network : {"", "host", "10.1.0.0/8", "10.0.0.0/7", "0.0.0.0/0", "2000::/15"})
    EXPECT_THAT(Add(network), HasReason(Reason::kInvalidField)) << network;
  for (const absl::Duration duration : {-kMinute, absl::Hours(24 * 365 * 11)})
    EXPECT_THAT(Add(kAddress, duration), HasReason(Reason::kInvalidField)) << duration;
  EXPECT_THAT(Remove("host"), HasReason(Reason::kInvalidField));
  for (const char* network : {"", "10.0.0.0/31", "2001:db8::/63"})
    EXPECT_THAT(Earn({EarnedBy(network)}), HasReason(Reason::kInvalidField)) << network;
  EXPECT_THAT(Earn({EarnedBy(kAddress, absl::Hours(24 * 8))}), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Earn({EarnedBy(kAddress, kMinute, 0)}), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Earn(std::vector<v1::EarnedBan>(kMaxEarnedBans + 1, EarnedBy(kAddress))),
              HasReason(Reason::kInvalidField));
  v1::EarnedBan wordy = EarnedBy(kAddress);
  wordy.set_reason(std::string(256, 'x'));
  EXPECT_THAT(Earn({wordy}), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Networks(), IsEmpty());
}

TEST_F(BansTest, EarnedAtOneBridgeHoldAtAllOfThem) {
  ASSERT_OK(Earn({EarnedBy(kAddress, kMinute, 3), EarnedBy("2001:db8::/64")}));
  const v1::Ban ban = List().bans(0);
  EXPECT_EQ(ban.network(), kAddress);
  EXPECT_EQ(ban.source(), v1::Ban::BRIDGE);
  EXPECT_EQ(ban.author(), "CN=bridge");
  EXPECT_EQ(ban.reason(), "malformed_head");
  EXPECT_EQ(ban.strikes(), 3);
  const v1::SyncBansResponse told = Sync();
  EXPECT_EQ(told.bans_size(), 2);
  EXPECT_EQ(told.bans(0).network(), kAddress);
  EXPECT_EQ(told.bans(0).remaining().seconds(), 60);
  EXPECT_EQ(told.bans(0).strikes(), 3);
}

TEST_F(BansTest, BridgesKnowForADayWhoWasBanned) {
  ASSERT_OK(Earn({EarnedBy(kAddress, kMinute, 3)}));
  Pass(kMinute);
  EXPECT_THAT(Networks(), IsEmpty());
  EXPECT_EQ(Sync().bans(0).remaining().seconds(), 0);
  EXPECT_TRUE(Sync().bans(0).has_remaining());
  EXPECT_EQ(Sync().bans(0).strikes(), 3);
  Pass(absl::Hours(24));
  EXPECT_TRUE(Sync().bans().empty());
}

TEST_F(BansTest, ALongerBanStaysAsItIs) {
  ASSERT_OK(Add(kAddress, absl::Hours(1)));
  ASSERT_OK(Earn({EarnedBy(kAddress)}));
  EXPECT_EQ(List().bans(0).source(), v1::Ban::OPERATOR);
  ASSERT_OK(Earn({EarnedBy(kAddress, absl::Hours(2), 7)}));
  EXPECT_EQ(List().bans(0).source(), v1::Ban::BRIDGE);
  ASSERT_OK(Earn({EarnedBy(kAddress, absl::Hours(3), 1)}));
  EXPECT_EQ(List().bans(0).strikes(), 7);
  ASSERT_OK(Add(kAddress));
  EXPECT_EQ(List().bans(0).strikes(), 7);
  ASSERT_OK(Earn({EarnedBy(kAddress, absl::Hours(4))}));
  EXPECT_EQ(List().bans(0).source(), v1::Ban::OPERATOR);
}

TEST_F(BansTest, WhoKnowsThemIsNotToldAgain) {
  const std::string none = Sync().version();
  EXPECT_EQ(Sync(none).version(), none);
  ASSERT_OK(Earn({EarnedBy(kAddress)}));
  const v1::SyncBansResponse one = Sync(none);
  EXPECT_NE(one.version(), none);
  EXPECT_EQ(one.bans_size(), 1);
  Pass(absl::Seconds(10));
  EXPECT_EQ(Sync(one.version()).version(), one.version());
  EXPECT_TRUE(Sync(one.version()).bans().empty());
  ASSERT_OK(Earn({EarnedBy(kAddress, kMinute, 2)}));
  EXPECT_NE(Sync(one.version()).version(), one.version());
  ASSERT_OK(Remove(kAddress));
  EXPECT_EQ(Sync(one.version()).version(), none);
}

TEST_F(BansTest, AreListedPageByPage) {
  for (int i = 1; i <= 5; ++i) ASSERT_OK(Add(absl::StrCat("10.0.0.", i)));
  EXPECT_THAT(Networks(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"));
  const v1::ListBansResponse first = List(3);
  EXPECT_EQ(first.bans_size(), 3);
  const v1::ListBansResponse second = List(3, first.next_page_token());
  EXPECT_EQ(second.bans_size(), 2);
  EXPECT_EQ(second.bans(0).network(), "10.0.0.4");
  EXPECT_EQ(second.next_page_token(), "");
}

TEST_F(BansTest, ThereAreOnlySoMany) {
  Fill(storage::BanSource::kOperator);
  EXPECT_THAT(Add(kAddress), HasReason(Reason::kSizeLimit));
  // That is no fault of the bridge's.
  EXPECT_OK(Earn({EarnedBy(kAddress)}));
  EXPECT_EQ(Sync().bans_size(), kMaxBans);
  EXPECT_OK(Add("10.9.0.1"));
  EXPECT_OK(Earn({EarnedBy("10.9.0.2", absl::Hours(10))}));
  Pass(absl::Hours(30));
  EXPECT_OK(Add(kAddress));
  EXPECT_EQ(Sync().bans_size(), 3);
}

TEST_F(BansTest, TheEarnedOneThatEndsFirstMakesRoom) {
  Fill(storage::BanSource::kBridge);
  EXPECT_OK(Add(kAddress));
  EXPECT_OK(Earn({EarnedBy("10.1.2.4", absl::Hours(1)), EarnedBy("10.1.2.5", absl::Hours(1))}));
  EXPECT_EQ(Sync().bans_size(), kMaxBans);
  const std::vector<storage::Ban> first =
      catalog_
          .Read([](storage::Snapshot& snapshot) {
            return snapshot.ListBans(absl::InfinitePast(), "10.1.2.2", 4);
          })
          .value();
  std::vector<std::string> networks;
  for (const storage::Ban& ban : first) networks.push_back(ban.network);
  EXPECT_THAT(networks, ElementsAre(kAddress, "10.1.2.4", "10.1.2.5", "10.9.0.10"));
  EXPECT_THAT(Remove("10.9.0.0"), testing::IsOkAndHolds(false));
  EXPECT_THAT(Remove("10.9.0.2"), testing::IsOkAndHolds(false));
  EXPECT_THAT(Remove("10.9.0.3"), testing::IsOkAndHolds(true));
}

}  // namespace
}  // namespace backup::handlers
