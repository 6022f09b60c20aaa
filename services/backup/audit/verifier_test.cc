#include "services/backup/audit/verifier.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/backup/audit/actions.h"
#include "storage/testing/ids.h"

namespace backup::audit {
namespace {

using storage::AuditEntry;

class VerifierTest : public ::testing::Test {
 protected:
  VerifierTest() {
    for (int64_t number = 1; number <= 6; ++number) Append(number, "version delete");
  }

  void Append(int64_t number, const std::string& action) {
    AuditEntry entry;
    entry.number = number;
    entry.time = absl::FromUnixSeconds(1'700'000'000 + number);
    entry.actor = absl::StrCat("CN=anna", number);
    entry.role = "operator";
    entry.peer = "127.0.0.1:5";
    entry.action = action;
    entry.client = storage::IdOf<ClientId>(3);
    entry.object = "name";
    entry.version_id = 12;
    entry.outcome = "OK";
    entry.detail = "more";
    entry.chain = chain_.Link(entries_.empty() ? Chain::Origin() : entries_.back().chain, entry);
    entries_.push_back(entry);
    head_ = Signed(entries_.back());
  }
  std::string Signed(const AuditEntry& entry, HeadKind kind = HeadKind::kNewest) const {
    return chain_.Sign(kind, chain_.HeadOf(entry));
  }

  Report Verify() {
    Verifier verifier(chain_, removed_);
    for (const Head& head : expected_) verifier.Expect(head);
    for (const AuditEntry& entry : entries_) verifier.Add(entry);
    return verifier.Finish(head_);
  }
  // Each as "first-last what".
  std::vector<std::string> Findings() {
    std::vector<std::string> texts;
    for (const Finding& finding : Verify().findings)
      texts.push_back(absl::StrCat(finding.first, "-", finding.last, " ", finding.what));
    return texts;
  }
  void Drop(size_t begin, size_t end) {
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(begin),
                   entries_.begin() + static_cast<std::ptrdiff_t>(end));
  }

  const Chain chain_{SecretBytes(std::string(32, 'k'))};
  std::vector<AuditEntry> entries_;
  std::optional<std::string> removed_;
  std::optional<std::string> head_;
  std::vector<Head> expected_;
};

using Strings = std::vector<std::string>;

TEST_F(VerifierTest, FindsNothingInWhatWasWritten) {
  const Report report = Verify();
  EXPECT_EQ(report.findings, std::vector<Finding>());
  EXPECT_EQ(report.finding_count, 0);
  EXPECT_EQ(report.lost, std::vector<Finding>());
  EXPECT_EQ(report.entries, 6);
  EXPECT_EQ(report.head, chain_.HeadOf(entries_.back()));
}

TEST_F(VerifierTest, FindsNothingInAnEmptyLog) {
  entries_.clear();
  head_.reset();
  EXPECT_EQ(Findings(), Strings());
}

TEST_F(VerifierTest, FindsEveryFieldThatIsAltered) {
  const std::vector<std::function<void(AuditEntry&)>> changes = {
      [](auto& entry) { entry.time += absl::Microseconds(1); },
      [](auto& entry) { entry.actor = "CN=berta"; },
      [](auto& entry) { entry.role = "reader"; },
      [](auto& entry) { entry.peer[0] = '2'; },
      [](auto& entry) { entry.action = "version undelete"; },
      [](auto& entry) { entry.client.reset(); },
      [](auto& entry) { entry.object = "game"; },
      [](auto& entry) { entry.version_id = 13; },
      [](auto& entry) { entry.outcome = "ROLE_DENIED"; },
      [](auto& entry) { entry.detail.clear(); },
  };
  const std::vector<AuditEntry> right = entries_;
  for (size_t i = 0; i < right.size(); ++i) {
    for (size_t change = 0; change < changes.size(); ++change) {
      entries_ = right;
      changes[change](entries_[i]);
      EXPECT_EQ(Findings(),
                Strings{absl::StrCat(i + 1, "-", i + 1, " altered, or not in its place")})
          << "change " << change;
    }
  }
}

TEST_F(VerifierTest, FindsEveryByteOfAValueThatIsAltered) {
  for (size_t i = 0; i < entries_[2].chain.size(); ++i) {
    entries_[2].chain[i] = static_cast<char>(entries_[2].chain[i] ^ 1);
    EXPECT_EQ(Findings(), Strings{"3-4 altered, or not in its place"}) << i;
    entries_[2].chain[i] = static_cast<char>(entries_[2].chain[i] ^ 1);
  }
  entries_.back().chain[0] = static_cast<char>(entries_.back().chain[0] ^ 1);
  EXPECT_EQ(Findings(), (Strings{"6-6 altered, or not in its place",
                                 "6-6 another one than the signed head says"}));
}

TEST_F(VerifierTest, FindsWhatIsMissingInTheMiddle) {
  Drop(2, 4);
  EXPECT_EQ(Findings(), Strings{"3-4 missing"});
}

TEST_F(VerifierTest, FindsWhatIsMissingAtTheBeginning) {
  Drop(0, 2);
  EXPECT_EQ(Findings(), Strings{"1-2 missing"});
}

TEST_F(VerifierTest, FindsWhatIsCutOff) {
  Drop(4, 6);
  EXPECT_EQ(Findings(), Strings{"5-6 missing"});
}

TEST_F(VerifierTest, FindsThatAllIsGone) {
  entries_.clear();
  EXPECT_EQ(Findings(), Strings{"1-6 missing"});
}

TEST_F(VerifierTest, FindsWhatIsMissingAndNumberedAnew) {
  Drop(2, 3);
  for (size_t i = 2; i < entries_.size(); ++i) --entries_[i].number;
  EXPECT_EQ(Findings(), (Strings{"3-5 altered, or not in its place", "6-6 missing"}));
}

TEST_F(VerifierTest, FindsTwoThatChangedPlaces) {
  std::swap(entries_[1], entries_[3]);
  std::swap(entries_[1].number, entries_[3].number);
  EXPECT_EQ(Findings(), Strings{"2-5 altered, or not in its place"});
}

TEST_F(VerifierTest, FindsOneThatWasPutIn) {
  AuditEntry forged = entries_[5];
  forged.number = 7;
  entries_.push_back(forged);
  EXPECT_EQ(Findings(), (Strings{"7-7 altered, or not in its place",
                                 "7-7 not in the signed head, which is an older one"}));
}

TEST_F(VerifierTest, FindsACutThatAHeadWasMadeForByAnotherKey) {
  Drop(4, 6);
  head_ = Chain(SecretBytes(std::string(32, 'K')))
              .Sign(HeadKind::kNewest, chain_.HeadOf(entries_.back()));
  EXPECT_EQ(Findings(), Strings{"0-0 the signed head is missing, or altered"});
  head_.reset();
  EXPECT_EQ(Findings(), Strings{"0-0 the signed head is missing, or altered"});
}

TEST_F(VerifierTest, FindsByAHeadFromElsewhereThatAnOlderLogIsInPlace) {
  expected_ = {chain_.HeadOf(entries_[5])};
  Drop(3, 6);
  head_ = Signed(entries_.back());
  EXPECT_EQ(Findings(), Strings{"6-6 missing, though a head says so that was written down"});
}

TEST_F(VerifierTest, FindsByAHeadFromElsewhereThatTheLogWentOnOtherwise) {
  expected_ = {chain_.HeadOf(entries_[4])};
  Drop(4, 6);
  Append(5, "client delete");
  Append(6, "client delete");
  EXPECT_EQ(Findings(), Strings{"5-5 another one than a head says that was written down"});
}

TEST_F(VerifierTest, AHeadFromElsewhereOfWhatIsThereIsRight) {
  expected_ = {chain_.HeadOf(entries_[2]), chain_.HeadOf(entries_[5])};
  EXPECT_EQ(Findings(), Strings());
}

TEST_F(VerifierTest, GoesOnBehindWhatWasRemovedByAge) {
  removed_ = Signed(entries_[2], HeadKind::kRemoved);
  expected_ = {chain_.HeadOf(entries_[1])};
  Drop(0, 3);
  EXPECT_EQ(Findings(), Strings());
  EXPECT_EQ(Verify().removed, 3);
}

TEST_F(VerifierTest, NothingMayBeLeftAfterRemovingByAge) {
  removed_ = Signed(entries_[5], HeadKind::kRemoved);
  entries_.clear();
  EXPECT_EQ(Findings(), Strings());
}

TEST_F(VerifierTest, FindsThatMoreIsGoneThanWasRemovedByAge) {
  removed_ = Signed(entries_[2], HeadKind::kRemoved);
  Drop(0, 4);
  EXPECT_EQ(Findings(), Strings{"4-4 missing"});
}

TEST_F(VerifierTest, FindsThatTheNoteOfWhatWasRemovedIsAltered) {
  removed_ = Signed(entries_[2]);  // As the other kind of head.
  Drop(0, 3);
  EXPECT_EQ(Findings(), (Strings{"0-0 what is noted of those that were removed by age is altered",
                                 "1-3 missing"}));
}

TEST_F(VerifierTest, TellsWhatAnotherStateLostButFindsNothing) {
  Append(10, kStateRestored);
  Append(11, "version delete");
  EXPECT_EQ(Findings(), Strings());
  EXPECT_EQ(Verify().lost,
            (std::vector<Finding>{{7, 9, "lost by state restore, which entry 10 tells of"}}));
}

TEST_F(VerifierTest, FindsThatMoreIsGoneThanAnotherStateLost) {
  Append(10, kStateRestored);
  Drop(4, 6);
  EXPECT_EQ(Findings(), Strings{"5-9 missing"});
}

TEST_F(VerifierTest, ARebuiltStateMayBeginWithoutThoseBefore) {
  entries_.clear();
  Append(7, kStateRebuilt);
  EXPECT_EQ(Findings(), Strings());
  EXPECT_EQ(Verify().lost.size(), 1);
}

TEST_F(VerifierTest, FindsWhereALogWithoutAHeadBegan) {
  AuditEntry entry = entries_.back();
  entry.number = 7;
  entry.chain = chain_.Link(Chain::Origin(), entry);
  entries_.push_back(entry);
  head_ = Signed(entry);
  EXPECT_EQ(Findings(), Strings{"7-7 begins anew: what was noted of those before it was gone"});
}

TEST_F(VerifierTest, NamesOnlySoManyFindings) {
  for (int64_t number = 7; number <= 2 * 1100; ++number) Append(number, "version delete");
  for (size_t i = 0; i < entries_.size(); i += 2) entries_[i].detail = "other";
  const Report report = Verify();
  EXPECT_EQ(report.findings.size(), Report::kMaxFindings);
  EXPECT_EQ(report.finding_count, 1100);
}

}  // namespace
}  // namespace backup::audit
