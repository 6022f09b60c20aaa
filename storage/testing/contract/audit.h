#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

class CatalogAudit : public CatalogContract {
 protected:
  // Every field of which is another one's value nowhere.
  static AuditEntry MakeEntry(int64_t number) {
    AuditEntry entry;
    entry.number = number;
    entry.time = At(static_cast<int>(number)) + absl::Microseconds(7);
    entry.actor = "CN=anna";
    entry.role = "operator";
    entry.peer = "127.0.0.1:5";
    entry.action = "version delete";
    entry.client = IdOf<ClientId>(3);
    entry.object = std::string("na\0me\xFF", 6);
    entry.version_id = 12;
    entry.outcome = "RETAINED";
    entry.detail = "until then";
    entry.chain = std::string(31, '\xC3') + std::string(1, '\0');
    return entry;
  }
  absl::Status Append(const std::vector<AuditEntry>& entries) {
    return Run([&](Transaction& transaction) -> absl::Status {
      for (const AuditEntry& entry : entries)
        RETURN_IF_ERROR(transaction.AppendAuditEntry(entry, AuditRoom::kUnlessFull));
      return absl::OkStatus();
    });
  }
  std::vector<AuditEntry> List(int64_t after, const AuditFilter& filter, int limit) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListAuditEntries(after, filter, limit); })
        .value();
  }
  std::vector<int64_t> Numbers(const AuditFilter& filter = {}, int64_t after = 0, int limit = 100) {
    std::vector<int64_t> numbers;
    for (const AuditEntry& entry : List(after, filter, limit)) numbers.push_back(entry.number);
    return numbers;
  }
  std::optional<AuditEntry> Newest() {
    return Read([](Snapshot& snapshot) { return snapshot.FindNewestAuditEntry(); }).value();
  }
  absl::StatusOr<int64_t> Drop(int64_t last, int limit) {
    return Run([&](Transaction& transaction) { return transaction.DropAuditEntries(last, limit); });
  }
};

TEST_P(CatalogAudit, HasNoEntryAtFirst) {
  EXPECT_EQ(Numbers(), std::vector<int64_t>());
  EXPECT_EQ(Newest(), std::nullopt);
}

TEST_P(CatalogAudit, KeepsEntriesAsTheyAre) {
  AuditEntry bare;
  bare.number = 8;
  bare.time = At(0);
  ASSERT_OK(Append({MakeEntry(3), bare}));
  EXPECT_EQ(List(0, {}, 10), (std::vector<AuditEntry>{MakeEntry(3), bare}));
  EXPECT_EQ(Newest(), bare);
}

TEST_P(CatalogAudit, ReadsInTheTransactionWhatItAppended) {
  const auto newest =
      Run([](Transaction& transaction) -> absl::StatusOr<std::optional<AuditEntry>> {
        RETURN_IF_ERROR(transaction.AppendAuditEntry(MakeEntry(1), AuditRoom::kAlways));
        return transaction.FindNewestAuditEntry();
      });
  EXPECT_EQ(newest.value(), MakeEntry(1));
}

TEST_P(CatalogAudit, UndoesAnEntryWithItsTransaction) {
  EXPECT_FALSE(Run([](Transaction& transaction) -> absl::Status {
                 RETURN_IF_ERROR(transaction.AppendAuditEntry(MakeEntry(1), AuditRoom::kAlways));
                 return absl::AbortedError("on purpose");
               }).ok());
  EXPECT_EQ(Newest(), std::nullopt);
}

TEST_P(CatalogAudit, ListsPageByPage) {
  ASSERT_OK(Append({MakeEntry(1), MakeEntry(2), MakeEntry(5), MakeEntry(6)}));
  EXPECT_EQ(Numbers({}, 0, 2), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(Numbers({}, 2, 2), (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(Numbers({}, 6, 2), std::vector<int64_t>());
}

TEST_P(CatalogAudit, ListsWhatTheFilterLetsThrough) {
  AuditEntry other = MakeEntry(2);
  other.actor = "CN=berta";
  other.action = "client delete";
  other.client = IdOf<ClientId>(4);
  AuditEntry of_none = MakeEntry(3);
  of_none.client = std::nullopt;
  ASSERT_OK(Append({MakeEntry(1), other, of_none, MakeEntry(4)}));
  EXPECT_EQ(Numbers({.client = IdOf<ClientId>(3)}), (std::vector<int64_t>{1, 4}));
  EXPECT_EQ(Numbers({.actor = "bert"}), (std::vector<int64_t>{2}));
  EXPECT_EQ(Numbers({.actor = "Anna"}), std::vector<int64_t>());
  EXPECT_EQ(Numbers({.action = "version delete"}), (std::vector<int64_t>{1, 3, 4}));
  EXPECT_EQ(Numbers({.since = MakeEntry(2).time, .until = MakeEntry(4).time}),
            (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(Numbers({.since = MakeEntry(2).time, .client = IdOf<ClientId>(3), .actor = "CN=anna"}),
            (std::vector<int64_t>{4}));
  EXPECT_EQ(Numbers({.action = "version"}), std::vector<int64_t>());
  // A limit is of those that it lists.
  EXPECT_EQ(Numbers({.action = "version delete"}, 1, 1), (std::vector<int64_t>{3}));
}

TEST_P(CatalogAudit, DropsTheOldestOnly) {
  ASSERT_OK(Append({MakeEntry(1), MakeEntry(2), MakeEntry(3), MakeEntry(4)}));
  EXPECT_THAT(Drop(3, 2), testing::IsOkAndHolds(2));
  EXPECT_EQ(Numbers(), (std::vector<int64_t>{3, 4}));
  EXPECT_THAT(Drop(3, 2), testing::IsOkAndHolds(1));
  EXPECT_THAT(Drop(3, 2), testing::IsOkAndHolds(0));
  EXPECT_EQ(Numbers(), (std::vector<int64_t>{4}));
}

TEST_P(CatalogAudit, KeepsTheEntriesOfAClientThatIsGone) {
  const Client client = Register("anna", 3);
  ASSERT_OK(Append({MakeEntry(1)}));
  ASSERT_OK(RemoveClient(client.id));
  EXPECT_EQ(Numbers({.client = client.id}), (std::vector<int64_t>{1}));
}

}  // namespace backup::storage
