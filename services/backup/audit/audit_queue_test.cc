#include "services/backup/audit/audit_queue.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/audit/actions.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::audit {
namespace {

using storage::AuditEntry;
using storage::Snapshot;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Does no work while it is away.
class AwayCatalog final : public storage::Catalog {
 public:
  void Submit(Work work, Done done) override {
    if (is_away) return done(absl::UnavailableError("away"));
    catalog_.Submit(std::move(work), std::move(done));
  }

  std::atomic<bool> is_away = false;

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override {
    return catalog_.Read([&](Snapshot& snapshot) { return read(snapshot); });
  }

  storage::MemoryCatalog catalog_;
};

class AuditQueueTest : public ::testing::Test {
 protected:
  static AuditEntry Entry(const std::string& actor, const std::string& action,
                          const std::string& outcome) {
    AuditEntry entry = EntryOfService(action, "", absl::FromUnixSeconds(2));
    entry.actor = actor;
    entry.outcome = outcome;
    return entry;
  }
  void Refuse(const std::string& actor, int times = 1) {
    for (int i = 0; i < times; ++i) queue_.NoteRefused(Entry(actor, "deed", "ROLE_DENIED"));
  }
  // Behind that which begins the log.
  std::vector<AuditEntry> Entries() {
    return catalog_
        .Read([](Snapshot& snapshot) { return snapshot.ListAuditEntries(1, {}, 100'000); })
        .value();
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (const AuditEntry& entry : Entries())
      texts.push_back(absl::StrCat(entry.actor, " ", entry.action, " ", entry.outcome,
                                   entry.detail.empty() ? "" : ": ", entry.detail));
    return texts;
  }

  const storage::TempFolder folder_;
  AwayCatalog catalog_;
  const std::unique_ptr<AuditLog> log_ =
      AuditLog::Open(catalog_, std::string(32, 'k'), HeadPath(folder_.path() + "/keys"),
                     absl::FromUnixSeconds(1))
          .value();
  AuditQueue queue_{catalog_, *log_, {}};
};

TEST_F(AuditQueueTest, WritesWhatWasNoted) {
  queue_.Note(Entry("anna", "download", "OK"));
  queue_.Note(Entry("anna", "download", "OK"));
  queue_.Flush();
  EXPECT_THAT(Texts(), ElementsAre("anna download OK", "anna download OK"));
}

TEST_F(AuditQueueTest, WritesMoreThanOneBatch) {
  for (size_t i = 0; i < 3 * AuditQueue::kBatch + 1; ++i) queue_.Note(Entry("a", "download", "OK"));
  queue_.Flush();
  EXPECT_EQ(Entries().size(), 3 * AuditQueue::kBatch + 1);
}

TEST_F(AuditQueueTest, TellsTheFirstOfThoseThatAreAlikeAtOnceAndTheOthersAtTheEnd) {
  Refuse("anna", 3);
  Refuse("berta");
  queue_.Flush();
  EXPECT_THAT(Texts(), ElementsAre("anna deed ROLE_DENIED", "berta deed ROLE_DENIED"));
  queue_.Close();
  EXPECT_THAT(Texts(), ElementsAre("anna deed ROLE_DENIED", "berta deed ROLE_DENIED",
                                   "anna deed ROLE_DENIED: and 2 times more until then"));
  // The next window begins.
  Refuse("anna");
  queue_.Flush();
  EXPECT_EQ(Entries().size(), 4);
}

TEST_F(AuditQueueTest, AFloodOfRefusedCallsMakesFewEntries) {
  for (int i = 0; i < 10'000; ++i) Refuse(absl::StrCat("caller ", i), 2);
  queue_.Close();
  EXPECT_EQ(Entries().size(), 2 * AuditQueue::kMaxRefusedKinds + 1);
  const AuditEntry last = Entries().back();
  EXPECT_EQ(last.action, kManyRefused);
  EXPECT_EQ(last.detail, absl::StrCat(2 * (10'000 - AuditQueue::kMaxRefusedKinds),
                                      " calls of more callers, or of more kinds; the last by "
                                      "caller 9999 from "));
}

TEST_F(AuditQueueTest, WaitsForACatalogThatIsAwayAndTellsWhatHadNoRoom) {
  catalog_.is_away = true;
  for (size_t i = 0; i < AuditQueue::kMaxWaiting + 5; ++i)
    queue_.Note(Entry("a", "download", "OK"));
  queue_.Flush();
  EXPECT_THAT(Entries(), IsEmpty());
  catalog_.is_away = false;
  queue_.Flush();
  std::vector<AuditEntry> lost;
  for (const AuditEntry& entry : Entries()) {
    if (entry.action == kLost) lost.push_back(entry);
  }
  EXPECT_EQ(Entries().size(), AuditQueue::kMaxWaiting + 1);
  ASSERT_EQ(lost.size(), 1);
  EXPECT_EQ(lost[0].detail, "5 entries could not be kept");
}

TEST_F(AuditQueueTest, WhatItWritesHoldsTogether) {
  Refuse("anna", 2);
  queue_.Close();
  const auto report = log_->Verify({}, [](int64_t) { return absl::OkStatus(); });
  EXPECT_EQ(report->finding_count, 0);
  EXPECT_EQ(report->entries, 3);
}

}  // namespace
}  // namespace backup::audit
