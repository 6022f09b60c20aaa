#pragma once

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

class CatalogQuotas : public CatalogContract {
 protected:
  static constexpr QuotaLimits kLimits = {1, 2, 3, 4};

  static QuotaScope Of(const ClientId& client) { return {client, QuotaKind::kClient}; }
  absl::Status SetQuota(const Quota& quota) {
    return Run([&](Transaction& transaction) { return transaction.SetQuota(quota); });
  }
  bool DeleteQuota(const QuotaScope& scope) {
    return Run([&](Transaction& transaction) { return transaction.DeleteQuota(scope); }).value();
  }
  std::vector<Quota> ListQuotas(const std::optional<QuotaScope>& after, int limit) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListQuotas(after, limit); }).value();
  }
  std::vector<QuotaUse> ListQuotasFor(const ClientId& client, const std::string& file_name) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListQuotasFor(client, file_name); })
        .value();
  }
  std::optional<ClientId> FindClientBeyond(const QuotaLimits& limits) {
    const auto found =
        Read([&](Snapshot& snapshot) { return snapshot.FindClientBeyond(limits); }).value();
    if (!found) return std::nullopt;
    return found->id;
  }
  int64_t CountBeyondSoft() {
    return Read([](Snapshot& snapshot) { return snapshot.CountClientsBeyondSoftLimits(); }).value();
  }
  Usage UsedBy(const ClientId& client) { return ListQuotasFor(client, "").at(0).used; }
  Usage UsedByStore() { return ListQuotasFor(first_, "").at(1).used; }
  absl::Status Delete(const Version& version) {
    return Run([&](Transaction& transaction) {
      return transaction.DeleteVersion(version.client_id, version.file_name, version.version_id,
                                       {At(5)});
    });
  }

  // What rows tell, and not the counts.
  void ExpectRightUsage(const std::vector<ClientId>& clients) {
    std::map<ClientId, Usage> used;
    std::map<ClientId, std::set<std::string>> names;
    Usage by_store;
    std::set<std::pair<ClientId, std::string>> all_names;
    const auto versions =
        Read([](Snapshot& snapshot) { return snapshot.ScanVersions(0, 10'000); }).value();
    for (const auto& [version, content] : versions) {
      const int64_t size = version.state == VersionState::kAbandoned ? 0 : version.size_bytes;
      by_store.bytes += size;
      all_names.emplace(version.client_id, version.file_name);
      if (version.delete_time) continue;
      used[version.client_id].bytes += size;
      names[version.client_id].insert(version.file_name);
    }
    by_store.files = std::ssize(all_names);
    for (const ClientId& client : clients) {
      const std::vector<QuotaUse> uses = ListQuotasFor(client, "");
      if (uses.empty()) continue;  // It is in the trash.
      EXPECT_EQ(uses[0].used, (Usage{used[client].bytes, std::ssize(names[client])}));
      EXPECT_EQ(uses[1].used, by_store);
    }
    const Counts counts = Count();
    EXPECT_EQ(counts.stored_bytes + counts.trash_bytes, by_store.bytes);
    EXPECT_EQ(counts.files + counts.trash_files, by_store.files);
  }

  const QuotaScope store_ = {ClientId(), QuotaKind::kStore};
  const QuotaScope every_client_ = {ClientId(), QuotaKind::kEveryClient};
  const ClientId first_ = Register("first", 1).id;
  const ClientId second_ = Register("second", 2).id;
};

TEST_P(CatalogQuotas, KeepsOneForEachScopeInOrder) {
  const std::vector<Quota> quotas = {{store_, kLimits},
                                     {every_client_, {.hard_files = 1}},
                                     {Of(first_), {}},
                                     {Of(second_), kLimits}};
  for (const Quota& quota : {quotas[3], quotas[1], quotas[0], quotas[2]})
    EXPECT_OK(SetQuota(quota));
  EXPECT_EQ(ListQuotas(std::nullopt, 9), quotas);
  EXPECT_EQ(ListQuotas(std::nullopt, 1), (std::vector{quotas[0]}));
  EXPECT_EQ(ListQuotas(store_, 2), (std::vector{quotas[1], quotas[2]}));
  const Quota changed{Of(first_), {.soft_bytes = 9}};
  EXPECT_OK(SetQuota(changed));
  const auto find = [&](const QuotaScope& scope) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindQuota(scope); }).value();
  };
  EXPECT_EQ(find(Of(first_)), changed.limits);
  EXPECT_TRUE(DeleteQuota(Of(first_)));
  EXPECT_FALSE(DeleteQuota(Of(first_)));
  EXPECT_EQ(find(Of(first_)), std::nullopt);
  EXPECT_THAT(SetQuota({Of(nobody_), kLimits}), testing::HasReason(Reason::kClientNotFound));
  EXPECT_EQ(ListQuotas(std::nullopt, 9).size(), 3u);
}

TEST_P(CatalogQuotas, GoWithTheirClientAndComeBackWithIt) {
  EXPECT_OK(SetQuota({store_, kLimits}));
  EXPECT_OK(SetQuota({Of(first_), kLimits}));
  EXPECT_OK(Run([&](Transaction& transaction) { return transaction.DeleteClient(first_, At(5)); }));
  EXPECT_EQ(ListQuotas(std::nullopt, 9), (std::vector<Quota>{{store_, kLimits}}));
  EXPECT_THAT(SetQuota({Of(first_), {}}), testing::HasReason(Reason::kClientNotFound));
  EXPECT_EQ(ListQuotasFor(first_, "a"), std::vector<QuotaUse>());
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.UndeleteClient(first_, DuplicateNames::kReject).status();
  }));
  EXPECT_EQ(ListQuotas(store_, 9), (std::vector<Quota>{{Of(first_), kLimits}}));
  EXPECT_OK(RemoveClient(first_));
  EXPECT_FALSE(DeleteQuota(Of(first_)));
  EXPECT_TRUE(DeleteQuota(store_));
}

TEST_P(CatalogQuotas, HoldAClientToItsOwnElseToEveryClients) {
  EXPECT_EQ(ListQuotasFor(first_, "a"), std::vector<QuotaUse>());
  EXPECT_OK(SetQuota({every_client_, {.hard_bytes = 7}}));
  EXPECT_EQ(ListQuotasFor(first_, "a"),
            (std::vector<QuotaUse>{{Of(first_), {.hard_bytes = 7}, {}, true}}));
  EXPECT_OK(SetQuota({Of(first_), kLimits}));
  EXPECT_OK(SetQuota({store_, {.hard_bytes = 8}}));
  EXPECT_EQ(ListQuotasFor(first_, "a"),
            (std::vector<QuotaUse>{{Of(first_), kLimits, {}, true},
                                   {store_, {.hard_bytes = 8}, {}, true}}));
  EXPECT_EQ(ListQuotasFor(second_, "a").at(0).limits, (QuotaLimits{.hard_bytes = 7}));
  EXPECT_EQ(ListQuotasFor(nobody_, "a"), std::vector<QuotaUse>());
}

TEST_P(CatalogQuotas, CountWhatIsDeletedForTheStoreAlone) {
  EXPECT_OK(SetQuota({every_client_, kLimits}));
  EXPECT_OK(SetQuota({store_, kLimits}));
  const Version version = Add(first_, "a");
  Add(first_, "b");
  Add(second_, "a");
  EXPECT_EQ(UsedBy(first_), (Usage{20, 2}));
  EXPECT_EQ(UsedByStore(), (Usage{30, 3}));
  EXPECT_FALSE(ListQuotasFor(first_, "a").at(0).is_new_file);
  EXPECT_OK(Delete(version));
  EXPECT_EQ(UsedBy(first_), (Usage{10, 1}));
  EXPECT_EQ(UsedByStore(), (Usage{30, 3}));
  EXPECT_EQ(Count().trash_files, 1);
  // Its name is there, but only for the store.
  EXPECT_TRUE(ListQuotasFor(first_, "a").at(0).is_new_file);
  EXPECT_FALSE(ListQuotasFor(first_, "a").at(1).is_new_file);
  Add(first_, "a");
  EXPECT_EQ(UsedBy(first_), (Usage{20, 2}));
  EXPECT_EQ(UsedByStore(), (Usage{40, 3}));
  EXPECT_EQ(Count().trash_files, 0);
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.PurgeVersions({version.version_id}, At(5)).status();
  }));
  EXPECT_EQ(UsedByStore(), (Usage{30, 3}));
  EXPECT_OK(
      Run([&](Transaction& transaction) { return transaction.DeleteClient(second_, At(5)); }));
  EXPECT_EQ(UsedByStore(), (Usage{30, 3}));
  EXPECT_EQ(Count().trash_files, 1);
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.PurgeClient(second_, At(5), 9).status();
  }));
  EXPECT_EQ(UsedByStore(), (Usage{20, 2}));
  EXPECT_EQ(Count().trash_files, 0);
}

TEST_P(CatalogQuotas, TellWhoUsesMore) {
  Add(first_, "a");
  Add(first_, "b");
  Add(second_, "a");
  EXPECT_EQ(FindClientBeyond({.hard_bytes = 20, .hard_files = 2}), std::nullopt);
  EXPECT_EQ(FindClientBeyond({.hard_bytes = 19}), first_);
  EXPECT_EQ(FindClientBeyond({.hard_files = 1}), first_);
  EXPECT_EQ(FindClientBeyond({}), std::nullopt);
  EXPECT_EQ(CountBeyondSoft(), 0);
  EXPECT_OK(SetQuota({store_, {.soft_bytes = 1}}));
  EXPECT_EQ(CountBeyondSoft(), 0);
  EXPECT_OK(SetQuota({every_client_, {.soft_bytes = 9}}));
  EXPECT_EQ(CountBeyondSoft(), 2);
  EXPECT_OK(SetQuota({Of(first_), {.soft_files = 2}}));
  EXPECT_EQ(CountBeyondSoft(), 1);
  EXPECT_EQ(FindClientBeyond({.hard_bytes = 19}), std::nullopt);
  EXPECT_OK(SetQuota({Of(first_), {.soft_files = 1}}));
  EXPECT_EQ(CountBeyondSoft(), 2);
  EXPECT_OK(SetQuota({every_client_, {.hard_bytes = 1}}));
  EXPECT_EQ(CountBeyondSoft(), 1);
  EXPECT_TRUE(DeleteQuota(every_client_));
  EXPECT_EQ(CountBeyondSoft(), 1);
  EXPECT_OK(SetQuota({every_client_, {.soft_bytes = 9}}));
  EXPECT_OK(RemoveClient(first_));
  EXPECT_EQ(CountBeyondSoft(), 1);
}

// Whatever is done, in whichever order.
TEST_P(CatalogQuotas, AlwaysTellWhatARecountWould) {
  constexpr int kSteps = 400;
  constexpr int kFiles = 3;
  std::mt19937_64 random(1);
  const std::vector<ClientId> clients = {first_, second_, Register("third", 3).id};
  EXPECT_OK(SetQuota({every_client_, kLimits}));
  EXPECT_OK(SetQuota({store_, kLimits}));
  std::vector<int64_t> ids;
  const auto any_id = [&] { return ids.empty() ? 0 : ids[random() % ids.size()]; };
  for (int step = 0; step < kSteps; ++step) {
    const size_t chosen = random() % clients.size();
    const ClientId client = clients[chosen];
    const std::string name = absl::StrCat("file ", random() % kFiles);
    const auto run = [&](const auto& work) {
      // Errors are about what is not there.
      Run([&](Transaction& transaction) { return work(transaction); }).IgnoreError();
    };
    switch (random() % 11) {
      case 0:
        run([&](Transaction& transaction) { return transaction.DeleteClient(client, At(5)); });
        break;
      case 1:
      case 2:
        run([&](Transaction& transaction) {
          return transaction.UndeleteClient(client, DuplicateNames::kReject).status();
        });
        break;
      case 3:
        run([&](Transaction& transaction) {
          return transaction.DeleteVersions({any_id()}, {At(5), random() % 4 == 0}).status();
        });
        break;
      case 4:
        run([&](Transaction& transaction) {
          return transaction.UndeleteVersions({any_id()}).status();
        });
        break;
      case 5:
        run([&](Transaction& transaction) {
          return transaction.PurgeVersions({any_id()}, At(5)).status();
        });
        break;
      case 6:
        run([&](Transaction& transaction) {
          const auto outcome = static_cast<Outcome>(random() % 3);
          return transaction.SettleVersion({client, name, std::nullopt, outcome}, At(5)).status();
        });
        break;
      case 7:
        run([&](Transaction& transaction) {
          return transaction
              .ExpireVersions(
                  {{any_id(), VersionState::kReceived, 0}, {any_id(), VersionState::kVerified, 0}},
                  {At(5)})
              .status();
        });
        break;
      case 8: {
        const auto purged = Run([&](Transaction& transaction) {
          return transaction.PurgeClient(client, At(5), /*limit=*/2);
        });
        // Comes again as a new one.
        if (purged.ok() && purged->is_gone)
          Register(absl::StrCat("again ", step), static_cast<uint8_t>(chosen + 1));
        break;
      }
      default: {
        Version version = MakeVersion(client, name);
        version.size_bytes = static_cast<int64_t>(random() % 5);
        ids.push_back(version.version_id);
        run([&](Transaction& transaction) {
          return transaction.AddVersion(version, std::string("bytes"), {}).status();
        });
      }
    }
    ExpectRightUsage(clients);
  }
}

}  // namespace backup::storage
