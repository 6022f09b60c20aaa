#include "services/backup/audit/audit_log.h"

#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/audit/actions.h"
#include "storage/memory/memory_catalog.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/repeating_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::audit {
namespace {

using storage::AuditEntry;
using storage::AuditRoom;
using storage::Catalog;
using storage::Snapshot;
using storage::Transaction;
using ::testing::ElementsAre;
using testing::HasReason;
using ::testing::IsEmpty;
using testing::IsOkAndHolds;

// On each kind of catalog, and one whose works are run twice.
class AuditLogTest : public ::testing::TestWithParam<bool> {
 protected:
  AuditLogTest() {
    if (GetParam()) {
      catalog_ = storage::SqliteCatalog::Open(folder_.path() + "/catalog.db").value();
    } else {
      catalog_ =
          std::make_unique<storage::RepeatingCatalog>(std::make_unique<storage::MemoryCatalog>());
    }
    Open();
  }

  static absl::Time At(int seconds) { return absl::FromUnixSeconds(1'700'000'000 + seconds); }
  void Open() { log_ = AuditLog::Open(*catalog_, Key(), path_, At(0)).value(); }
  static SecretBytes Key() { return std::string(32, 'k'); }

  absl::Status Append(const std::string& action, int seconds = 1) {
    return catalog_->Run([&](Transaction& transaction) {
      return log_->Append(transaction, EntryOfService(action, "", At(seconds)), AuditRoom::kAlways);
    });
  }
  std::vector<AuditEntry> Entries() {
    return catalog_->Read([](Snapshot& snapshot) { return snapshot.ListAuditEntries(0, {}, 100); })
        .value();
  }
  std::vector<std::string> Actions() {
    std::vector<std::string> actions;
    for (const AuditEntry& entry : Entries())
      actions.push_back(absl::StrCat(entry.number, " ", entry.action));
    return actions;
  }
  Report Verify(const std::vector<std::string>& heads = {}) {
    return log_->Verify(heads, [](int64_t) { return absl::OkStatus(); }).value();
  }
  int64_t CountFindings() { return Verify().finding_count; }
  void Change(const std::function<absl::Status(Transaction&)>& change) {
    ASSERT_OK(catalog_->Run(change));
  }
  // As an older copy of the table, or none of it, without the key.
  void CutOff(const std::vector<AuditEntry>& left, const std::string& head) {
    Change([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction.DropAuditEntries(1'000'000, 1'000'000).status());
      for (const AuditEntry& entry : left)
        RETURN_IF_ERROR(transaction.AppendAuditEntry(entry, AuditRoom::kAlways));
      return transaction.SetStoreValue(kHeadName, head);
    });
  }
  std::string Head() {
    return catalog_->Read([](Snapshot& snapshot) { return snapshot.FindStoreValue(kHeadName); })
        .value()
        .value();
  }
  std::string File() { return ReadSmallFile(path_, 1000).value_or("none"); }

  const storage::TempFolder folder_;
  const std::string path_ = HeadPath(folder_.path() + "/key.generations");
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<AuditLog> log_;
};

TEST_P(AuditLogTest, BeginsWithAnEntryThatSaysSo) {
  EXPECT_THAT(Actions(), ElementsAre("1 audit begin"));
  EXPECT_EQ(Entries()[0].actor, "service");
  EXPECT_FALSE(log_->is_damaged());
  EXPECT_EQ(CountFindings(), 0);
  Open();
  EXPECT_THAT(Actions(), ElementsAre("1 audit begin"));
}

TEST_P(AuditLogTest, NumbersAndLinksWhatIsAppended) {
  ASSERT_OK(Append("a"));
  ASSERT_OK(catalog_->Run([&](Transaction& transaction) -> absl::Status {
    for (const char* const action : {"b", "c"}) {
      RETURN_IF_ERROR(
          log_->Append(transaction, EntryOfService(action, "", At(2)), AuditRoom::kAlways));
    }
    return absl::OkStatus();
  }));
  EXPECT_THAT(Actions(), ElementsAre("1 audit begin", "2 a", "3 b", "4 c"));
  const Report report = Verify();
  EXPECT_EQ(report.finding_count, 0);
  EXPECT_EQ(report.entries, 4);
  EXPECT_EQ(report.head->number, 4);
}

TEST_P(AuditLogTest, KeepsTimesAsTheyWereSigned) {
  ASSERT_OK(catalog_->Run([&](Transaction& transaction) {
    return log_->Append(transaction, EntryOfService("a", "", At(1) + absl::Nanoseconds(1'234'567)),
                        AuditRoom::kAlways);
  }));
  EXPECT_EQ(Entries()[1].time, At(1) + absl::Microseconds(1234));
  EXPECT_EQ(CountFindings(), 0);
}

TEST_P(AuditLogTest, WritesTheHeadDownOutside) {
  ASSERT_OK(Append("a"));
  ASSERT_OK(log_->NoteHead());
  EXPECT_EQ(File(), Head() + "\n");
  EXPECT_EQ(log_->noted_number(), 2);
  EXPECT_EQ(Verify({File()}).finding_count, 0);
}

TEST_P(AuditLogTest, FindsATableThatWasReplacedByAnOlderOneWithItsHead) {
  ASSERT_OK(Append("a"));
  const std::vector<AuditEntry> entries = Entries();
  const std::string head = Head();
  ASSERT_OK(Append("b"));
  ASSERT_OK(Append("c"));
  ASSERT_OK(log_->NoteHead());
  CutOff(entries, head);
  EXPECT_EQ(CountFindings(), 0);  // Of itself it is right.
  EXPECT_EQ(Verify({File()}).finding_count, 1);
  log_->Check({});
  EXPECT_TRUE(log_->is_damaged());

  Open();
  EXPECT_TRUE(log_->is_damaged());
  EXPECT_THAT(Actions(), ElementsAre("1 audit begin", "2 a", "5 audit damage"));
  // Also when the file has gone on.
  ASSERT_OK(Append("d"));
  ASSERT_OK(log_->NoteHead());
  EXPECT_EQ(Verify().findings, (std::vector<Finding>{{3, 4, "missing"}}));
}

TEST_P(AuditLogTest, FindsThatAllOfItIsGone) {
  ASSERT_OK(Append("a"));
  ASSERT_OK(log_->NoteHead());
  CutOff({}, "");
  Open();
  EXPECT_TRUE(log_->is_damaged());
  EXPECT_THAT(Actions(), ElementsAre("3 audit damage"));
  EXPECT_EQ(Verify().findings, (std::vector<Finding>{{1, 2, "missing"}}));
}

TEST_P(AuditLogTest, FindsAHeadThatIsGone) {
  ASSERT_OK(Append("a"));
  ASSERT_OK(log_->NoteHead());
  Change([](Transaction& transaction) { return transaction.SetStoreValue(kHeadName, "1 2"); });
  EXPECT_EQ(CountFindings(), 1);
  Open();
  EXPECT_TRUE(log_->is_damaged());
}

TEST_P(AuditLogTest, TellsForEverThatItBeganAnewWithoutAHead) {
  Change([](Transaction& transaction) { return transaction.SetStoreValue(kHeadName, ""); });
  ASSERT_OK(Append("a"));
  ASSERT_OK(Append("b"));
  EXPECT_EQ(Verify().findings, (std::vector<Finding>{{2, 2,
                                                      "begins anew: what was noted of those "
                                                      "before it was gone"}}));
}

TEST_P(AuditLogTest, FindsAFileThatIsAltered) {
  ASSERT_OK(log_->NoteHead());
  std::ofstream(path_) << "1 2 3 4\n";
  log_->Check({});
  EXPECT_TRUE(log_->is_damaged());
  Open();
  EXPECT_TRUE(log_->is_damaged());
  EXPECT_THAT(Actions(), ElementsAre("1 audit begin", "2 audit damage"));
  // The next start finds what this one left.
  Open();
  EXPECT_FALSE(log_->is_damaged());
}

TEST_P(AuditLogTest, FindsThatItWentOnOtherwise) {
  const std::vector<AuditEntry> entries = Entries();
  const std::string head = Head();
  ASSERT_OK(Append("a"));
  ASSERT_OK(log_->NoteHead());
  CutOff(entries, head);
  ASSERT_OK(Append("other"));
  ASSERT_OK(Append("more"));
  Open();
  EXPECT_TRUE(log_->is_damaged());
  // And for ever.
  EXPECT_EQ(Verify().findings, (std::vector<Finding>{{4, 4, "altered, or not in its place"}}));
}

// By somebody who kept an older copy of the table and its head, while the service runs.
TEST_P(AuditLogTest, DoesNotWriteDownAnOlderHeadThanBefore) {
  ASSERT_OK(Append("a"));
  const std::vector<AuditEntry> entries = Entries();
  const std::string head = Head();
  ASSERT_OK(Append("b"));
  ASSERT_OK(log_->NoteHead());
  const std::string noted = File();
  CutOff(entries, head);
  ASSERT_OK(log_->NoteHead());
  EXPECT_EQ(File(), noted);
  EXPECT_TRUE(log_->is_damaged());
  // Nor once it has gone on beyond that.
  ASSERT_OK(Append("other"));
  ASSERT_OK(Append("more"));
  ASSERT_OK(log_->NoteHead());
  EXPECT_EQ(File(), noted);
  Open();
  EXPECT_TRUE(log_->is_damaged());
  EXPECT_EQ(CountFindings(), 1);
}

TEST_P(AuditLogTest, NotesHeadsAlsoWhenThoseBeforeWereRemovedByAge) {
  ASSERT_OK(Append("a"));
  ASSERT_OK(log_->NoteHead());
  ASSERT_OK(log_->RemoveBefore(At(99), {}).status());
  ASSERT_OK(Append("b"));
  ASSERT_OK(log_->NoteHead());
  EXPECT_FALSE(log_->is_damaged());
  EXPECT_EQ(File(), Head() + "\n");
}

TEST_P(AuditLogTest, AFileThatIsMissingIsMadeAgain) {
  ASSERT_OK(Append("a"));
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  Open();
  EXPECT_FALSE(log_->is_damaged());
  EXPECT_EQ(File(), Head() + "\n");
}

TEST_P(AuditLogTest, RefusesAHeadThatItHasNotSigned) {
  EXPECT_THAT(log_->Verify({"1 2 3 4"}, [](int64_t) { return absl::OkStatus(); }).status(),
              HasReason(Reason::kInvalidField));
}

TEST_P(AuditLogTest, RemovesByAgeWhatHoldsTogether) {
  ASSERT_OK(Append("a", 10));
  ASSERT_OK(Append("b", 20));
  ASSERT_OK(Append("c", 30));
  EXPECT_THAT(log_->RemoveBefore(At(20), {}), IsOkAndHolds(2));
  EXPECT_THAT(Actions(), ElementsAre("3 b", "4 c"));
  EXPECT_EQ(CountFindings(), 0);
  EXPECT_EQ(Verify().removed, 2);
  EXPECT_THAT(log_->RemoveBefore(At(20), {}), IsOkAndHolds(0));
  // All of it, and it goes on.
  EXPECT_THAT(log_->RemoveBefore(At(99), {}), IsOkAndHolds(2));
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_EQ(CountFindings(), 0);
  Open();
  EXPECT_FALSE(log_->is_damaged());
  ASSERT_OK(Append("d"));
  EXPECT_THAT(Actions(), ElementsAre("5 d"));
  EXPECT_EQ(CountFindings(), 0);
}

TEST_P(AuditLogTest, RemovesNothingThatIsDamaged) {
  ASSERT_OK(Append("a"));
  ASSERT_OK(Append("b"));
  std::vector<AuditEntry> entries = Entries();
  entries[1].actor = "nobody";
  CutOff(entries, Head());
  EXPECT_THAT(log_->RemoveBefore(At(99), {}), IsOkAndHolds(1));
  EXPECT_THAT(Actions(), ElementsAre("2 a", "3 b"));
  EXPECT_EQ(CountFindings(), 1);
}

TEST_P(AuditLogTest, RemovesMoreThanOnePage) {
  ASSERT_OK(catalog_->Run([&](Transaction& transaction) -> absl::Status {
    for (int i = 0; i < AuditLog::kPage + 10; ++i) {
      RETURN_IF_ERROR(
          log_->Append(transaction, EntryOfService("a", "", At(1)), AuditRoom::kAlways));
    }
    return absl::OkStatus();
  }));
  int64_t told = 0;
  const auto report = log_->Verify({}, [&](int64_t count) {
    told = count;
    return absl::OkStatus();
  });
  EXPECT_EQ(report->entries, AuditLog::kPage + 11);
  EXPECT_EQ(told, AuditLog::kPage + 11);
  EXPECT_THAT(log_->RemoveBefore(At(2), {}), IsOkAndHolds(AuditLog::kPage + 11));
  EXPECT_EQ(CountFindings(), 0);
}

TEST_P(AuditLogTest, GoesOnWithAnotherStateThatWasPutInPlace) {
  ASSERT_OK(Append("a"));
  const std::vector<AuditEntry> entries = Entries();
  const std::string head = Head();
  ASSERT_OK(Append("b"));
  ASSERT_OK(log_->NoteHead());
  CutOff(entries, head);
  ASSERT_OK(NoteOtherState(log_->chain(), *catalog_, path_, kStateRestored, "of then", At(5)));
  Open();
  EXPECT_FALSE(log_->is_damaged());
  EXPECT_THAT(Actions(), ElementsAre("1 audit begin", "2 a", "4 state restore"));
  const Report report = Verify();
  EXPECT_EQ(report.finding_count, 0);
  EXPECT_EQ(report.lost.size(), 1);
  // And removes it by age like any other.
  EXPECT_THAT(log_->RemoveBefore(At(99), {}), IsOkAndHolds(3));
}

INSTANTIATE_TEST_SUITE_P(Catalogs, AuditLogTest, ::testing::Bool());

}  // namespace
}  // namespace backup::audit
