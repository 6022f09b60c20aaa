#include "services/backup/audit/audited_catalog.h"

#include <memory>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/repeating_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::audit {
namespace {

using storage::Snapshot;
using storage::Transaction;

class AuditedCatalogTest : public ::testing::Test {
 protected:
  absl::Status SetValue(const std::string& value) {
    return audited_.Run(
        [&](Transaction& transaction) { return transaction.SetStoreValue("value", value); });
  }
  // Behind that which begins the log.
  std::vector<std::string> Actions() {
    std::vector<std::string> actions;
    const auto entries =
        catalog_.Read([](Snapshot& snapshot) { return snapshot.ListAuditEntries(1, {}, 9); });
    for (const storage::AuditEntry& entry : *entries) actions.push_back(entry.action);
    return actions;
  }

  const storage::TempFolder folder_;
  storage::RepeatingCatalog catalog_{std::make_unique<storage::MemoryCatalog>()};
  const std::unique_ptr<AuditLog> log_ =
      AuditLog::Open(catalog_, std::string(32, 'k'), HeadPath(folder_.path() + "/keys"),
                     absl::FromUnixSeconds(1))
          .value();
  AuditedCatalog audited_{catalog_, log_.get(),
                          EntryOfService("deed", "", absl::FromUnixSeconds(2))};
};

TEST_F(AuditedCatalogTest, TellsOfTheFirstTransactionAlone) {
  EXPECT_FALSE(audited_.is_told());
  ASSERT_OK(SetValue("a"));
  EXPECT_TRUE(audited_.is_told());
  ASSERT_OK(SetValue("b"));
  EXPECT_EQ(Actions(), std::vector<std::string>{"deed"});
}

TEST_F(AuditedCatalogTest, TellsOfNothingThatWasUndone) {
  EXPECT_FALSE(audited_.Run([](Transaction&) { return absl::AbortedError("on purpose"); }).ok());
  EXPECT_FALSE(audited_.is_told());
  EXPECT_EQ(Actions(), std::vector<std::string>());
  ASSERT_OK(SetValue("a"));
  EXPECT_EQ(Actions(), std::vector<std::string>{"deed"});
}

TEST_F(AuditedCatalogTest, ReadsWhatIsThere) {
  ASSERT_OK(SetValue("a"));
  EXPECT_EQ(
      audited_.Read([](Snapshot& snapshot) { return snapshot.FindStoreValue("value"); }).value(),
      "a");
}

TEST_F(AuditedCatalogTest, PassesOnWithoutALog) {
  AuditedCatalog plain(catalog_, nullptr, {});
  ASSERT_OK(
      plain.Run([&](Transaction& transaction) { return transaction.SetStoreValue("value", "c"); }));
  EXPECT_EQ(Actions(), std::vector<std::string>());
}

}  // namespace
}  // namespace backup::audit
