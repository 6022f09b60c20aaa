#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

class CatalogBans : public CatalogContract {
 protected:
  // Ends then; every field of which is another one's value nowhere.
  static Ban MakeBan(const std::string& network, int end) {
    Ban ban;
    ban.network = network;
    ban.start_time = At(1) + absl::Microseconds(7);
    ban.end_time = At(end) + absl::Microseconds(3);
    ban.source = BanSource::kBridge;
    ban.author = std::string("CN=bri\0dge\xFF", 11);
    ban.reason = "malformed_head";
    ban.strikes = 5;
    return ban;
  }
  absl::Status Set(const std::vector<Ban>& bans) {
    return Run([&](Transaction& transaction) -> absl::Status {
      for (const Ban& ban : bans) RETURN_IF_ERROR(transaction.SetBan(ban));
      return absl::OkStatus();
    });
  }
  std::optional<Ban> Find(const std::string& network) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindBan(network); }).value();
  }
  std::vector<std::string> Networks(absl::Time time = absl::InfinitePast(),
                                    const std::string& after = "", int limit = 100) {
    std::vector<std::string> networks;
    const auto bans =
        Read([&](Snapshot& snapshot) { return snapshot.ListBans(time, after, limit); }).value();
    for (const Ban& ban : bans) networks.push_back(ban.network);
    return networks;
  }
  bool Delete(const std::string& network) {
    return Run([&](Transaction& transaction) { return transaction.DeleteBan(network); }).value();
  }
  int64_t DropEnded(absl::Time time) {
    return Run([&](Transaction& transaction) { return transaction.DropEndedBans(time); }).value();
  }

  const std::vector<std::string> none_ = {};
};

TEST_P(CatalogBans, HasNoneAtFirst) {
  EXPECT_EQ(Find("10.0.0.1"), std::nullopt);
  EXPECT_EQ(Networks(), none_);
  EXPECT_FALSE(Delete("10.0.0.1"));
  EXPECT_EQ(DropEnded(At(100)), 0);
}

TEST_P(CatalogBans, KeepsThemAsTheyAre) {
  Ban bare;
  bare.network = "2001:db8::/64";
  bare.start_time = At(0);
  bare.end_time = absl::InfiniteFuture();
  ASSERT_OK(Set({MakeBan("10.0.0.1", 9), bare}));
  EXPECT_EQ(Find("10.0.0.1"), MakeBan("10.0.0.1", 9));
  EXPECT_EQ(Find("2001:db8::/64"), bare);
  EXPECT_EQ(Read([](Snapshot& snapshot) { return snapshot.ListBans(At(0), "", 9); }).value(),
            (std::vector<Ban>{MakeBan("10.0.0.1", 9), bare}));
}

TEST_P(CatalogBans, OneTakesThePlaceOfTheOneBefore) {
  ASSERT_OK(Set({MakeBan("10.0.0.1", 9), MakeBan("10.0.0.2", 9)}));
  Ban other = MakeBan("10.0.0.1", 50);
  other.source = BanSource::kOperator;
  other.author = "CN=anna";
  other.reason = "";
  other.strikes = 0;
  ASSERT_OK(Set({other}));
  EXPECT_EQ(Find("10.0.0.1"), other);
  EXPECT_EQ(Find("10.0.0.2"), MakeBan("10.0.0.2", 9));
}

TEST_P(CatalogBans, ListsThoseThatGoOnPageByPage) {
  ASSERT_OK(Set({MakeBan("d", 4), MakeBan("b", 2), MakeBan("a", 1), MakeBan("c", 3)}));
  EXPECT_EQ(Networks(), (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_EQ(Networks(At(3)), (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(Networks(MakeBan("c", 3).end_time), (std::vector<std::string>{"d"}));
  EXPECT_EQ(Networks(absl::InfinitePast(), "a", 2), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(Networks(absl::InfinitePast(), "d", 2), none_);
}

TEST_P(CatalogBans, DeletesOneAlone) {
  ASSERT_OK(Set({MakeBan("a", 1), MakeBan("b", 2)}));
  EXPECT_TRUE(Delete("a"));
  EXPECT_FALSE(Delete("a"));
  EXPECT_EQ(Networks(), (std::vector<std::string>{"b"}));
}

TEST_P(CatalogBans, DropsThoseThatEnded) {
  Ban endless = MakeBan("c", 0);
  endless.end_time = absl::InfiniteFuture();
  ASSERT_OK(Set({MakeBan("a", 1), MakeBan("b", 2), endless}));
  EXPECT_EQ(DropEnded(At(1)), 0);
  EXPECT_EQ(DropEnded(MakeBan("a", 1).end_time), 1);
  EXPECT_EQ(DropEnded(At(1000)), 1);
  EXPECT_EQ(Networks(At(1000)), (std::vector<std::string>{"c"}));
}

TEST_P(CatalogBans, ReadsInTheTransactionWhatItChangedAndUndoesItWithIt) {
  EXPECT_FALSE(Run([](Transaction& transaction) -> absl::Status {
                 RETURN_IF_ERROR(transaction.SetBan(MakeBan("a", 1)));
                 EXPECT_EQ(transaction.FindBan("a").value(), MakeBan("a", 1));
                 return absl::AbortedError("on purpose");
               }).ok());
  EXPECT_EQ(Networks(), none_);
}

}  // namespace backup::storage
