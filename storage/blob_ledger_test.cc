#include "storage/blob_ledger.h"

#include <optional>
#include <set>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/ids.h"

namespace backup::storage {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;

// Turns everything away while it is told to.
class ClosableCatalog final : public Catalog {
 public:
  void Submit(Work work, Done done) override {
    if (closed) return done(MakeError(Reason::kStorageFull, "closed"));
    catalog_.Submit(std::move(work), std::move(done));
  }

  bool closed = false;

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override {
    return catalog_.Read([&](Snapshot& snapshot) { return read(snapshot); });
  }

  MemoryCatalog catalog_;
};

class BlobLedgerTest : public ::testing::Test {
 protected:
  BlobUse UseOf(const BlobId& id) {
    return catalog_.Read([&](Snapshot& snapshot) { return snapshot.FindBlob(id); }).value();
  }

  // As another process would.
  int64_t DropEnded(absl::Time ended_before) {
    return catalog_
        .Run([&](Transaction& transaction) {
          return transaction.DropPendingBlobsOfOthers(IdOf<OwnerId>(2), ended_before, 1000);
        })
        .value();
  }

  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  ClosableCatalog catalog_;
  BlobLedger ledger_{catalog_, clock_, IdOf<OwnerId>(1)};
};

TEST_F(BlobLedgerTest, GivesBlobsThatArePending) {
  std::set<BlobId> taken;
  for (int i = 0; i < 100; ++i) {
    const BlobId id = ledger_.Take().value();
    EXPECT_TRUE(taken.insert(id).second);
    EXPECT_EQ(UseOf(id), BlobUse::kPending);
  }
}

TEST_F(BlobLedgerTest, DropsABlobThatIsReleased) {
  const BlobId id = ledger_.Take().value();
  ledger_.Release(id);
  EXPECT_EQ(UseOf(id), BlobUse::kDropped);
}

TEST_F(BlobLedgerTest, TriesAReleaseAgainThatCouldNotBeWritten) {
  const BlobId id = ledger_.Take().value();
  catalog_.closed = true;
  ledger_.Release(id);
  EXPECT_THAT(ledger_.Renew(), HasReason(Reason::kStorageFull));
  EXPECT_EQ(UseOf(id), BlobUse::kPending);
  catalog_.closed = false;
  EXPECT_OK(ledger_.Renew());
  EXPECT_EQ(UseOf(id), BlobUse::kDropped);
}

TEST_F(BlobLedgerTest, KeepsItsBlobsAsLongAsItRenewsItsLeases) {
  const BlobId id = ledger_.Take().value();
  clock_.Advance(BlobLedger::kLease / 2);
  ASSERT_OK(ledger_.Renew());
  clock_.Advance(BlobLedger::kLease);
  EXPECT_EQ(DropEnded(clock_.Now() - BlobLedger::kLease / 4), 0);
  EXPECT_EQ(UseOf(id), BlobUse::kPending);
  EXPECT_GT(DropEnded(clock_.Now() + absl::Microseconds(1)), 0);
  EXPECT_EQ(UseOf(id), BlobUse::kDropped);
}

TEST_F(BlobLedgerTest, PublishesTheEpochOfTheOldestUploadUnderWay) {
  const auto condemn = [&] {
    return catalog_.Run([](Transaction& transaction) { return transaction.CondemnPacks({}); })
        .value();
  };
  const auto oldest = [&] {
    return catalog_.Read([](Snapshot& snapshot) { return snapshot.OldestEpoch(); }).value();
  };
  ASSERT_OK(ledger_.Renew());
  EXPECT_EQ(oldest(), 0);
  std::optional<BlobLedger::Upload> first(ledger_.BeginUpload());
  const int64_t epoch = condemn();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(oldest(), first->epoch());
  EXPECT_LT(oldest(), epoch);
  std::optional<BlobLedger::Upload> second(ledger_.BeginUpload());
  EXPECT_EQ(second->epoch(), epoch);
  first.reset();
  ASSERT_OK(ledger_.Renew());
  EXPECT_EQ(oldest(), epoch);
  const int64_t later = condemn();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(oldest(), epoch);
  second.reset();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(oldest(), later);
}

TEST_F(BlobLedgerTest, SaysWhyThereIsNoBlob) {
  catalog_.closed = true;
  EXPECT_THAT(ledger_.Take(), HasReason(Reason::kStorageFull));
  catalog_.closed = false;
  EXPECT_OK(ledger_.Take());
}

}  // namespace
}  // namespace backup::storage
