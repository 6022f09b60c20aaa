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

// Uploads that find chunks, and what becomes of these.
class BlobLedgerUploads : public BlobLedgerTest {
 protected:
  BlobLedgerUploads() { EXPECT_OK(ledger_.Renew()); }

  static ChunkRef Ref(uint8_t chunk) { return {IdOf<ChunkId>(chunk), kSize}; }
  // A pack with chunks 1 to `count`, to which nothing refers.
  void AddPack(uint8_t count) {
    NewChunks part;
    part.packs.resize(1);
    part.packs[0].blob_id = ledger_.Take().value();
    part.packs[0].size_bytes = count * kSize;
    for (uint8_t chunk = 1; chunk <= count; ++chunk) {
      const int index = chunk - 1;
      part.packs[0].chunks.push_back(
          {Ref(chunk).id, kSize, index * kSize, kSize, index, ChunkCoding::kRaw});
    }
    ASSERT_OK(catalog_.Run([&](Transaction& transaction) {
      return transaction.AppendRecipe(part, ledger_.NewLease()).status();
    }));
  }
  std::optional<StoredChunk> FindChunk(uint8_t chunk) {
    return catalog_.Read([&](Snapshot& snapshot) { return snapshot.FindChunk(Ref(chunk).id); })
        .value();
  }
  // As an upload does; whether it is there.
  bool Find(BlobLedger::Upload& upload, uint8_t chunk) {
    return upload.Find(Ref(chunk), [&](int64_t) { return FindChunk(chunk).has_value(); }).value();
  }
  int64_t Condemn() {
    return catalog_.Run([](Transaction& transaction) { return transaction.CondemnPacks({}); })
        .value();
  }
  int64_t Oldest() {
    return catalog_.Read([](Snapshot& snapshot) { return snapshot.OldestEpoch(); }).value();
  }
  void Release() {
    ASSERT_OK(catalog_.Run(
        [](Transaction& transaction) { return transaction.ReleaseRecipes(1000).status(); }));
  }

  static constexpr int64_t kSize = 1000;
};

TEST_F(BlobLedgerUploads, HoldTheEpochInWhichTheyFoundSomething) {
  AddPack(2);
  std::optional<BlobLedger::Upload> first(ledger_.BeginUpload());
  EXPECT_TRUE(Find(*first, 1));
  const int64_t epoch = Condemn();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_LT(Oldest(), epoch);
  std::optional<BlobLedger::Upload> second(ledger_.BeginUpload());
  EXPECT_TRUE(Find(*second, 1));
  first.reset();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), epoch);
  const int64_t later = Condemn();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), epoch);
  second.reset();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), later);
}

TEST_F(BlobLedgerUploads, HoldItWhileTheyLook) {
  AddPack(1);
  BlobLedger::Upload upload = ledger_.BeginUpload();
  const int64_t before = Condemn();
  ASSERT_OK(ledger_.PublishNow());
  ASSERT_OK(upload.Find(Ref(1), [&](int64_t epoch) {
    EXPECT_EQ(epoch, before);
    Condemn();
    EXPECT_OK(ledger_.PublishNow());
    EXPECT_EQ(Oldest(), before);
    return true;
  }));
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), before);
}

TEST_F(BlobLedgerUploads, HoldNothingIfTheyFoundNothing) {
  BlobLedger::Upload upload = ledger_.BeginUpload();
  EXPECT_FALSE(Find(upload, 1));
  EXPECT_EQ(ledger_.HoldTime(), absl::ZeroDuration());
  const int64_t epoch = Condemn();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), epoch);
}

TEST_F(BlobLedgerUploads, HoldOnlyWhatTheyDidNotWrite) {
  AddPack(2);
  BlobLedger::Upload upload = ledger_.BeginUpload();
  EXPECT_TRUE(Find(upload, 1));
  EXPECT_THAT(upload.Write({}, [] { return absl::UnavailableError("no"); }),
              testing::StatusIs(absl::StatusCode::kUnavailable));
  const int64_t epoch = Condemn();
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_LT(Oldest(), epoch);
  ASSERT_OK(upload.Write({Ref(2)}, [] { return absl::OkStatus(); }));
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_LT(Oldest(), epoch);
  ASSERT_OK(upload.Write({}, [] { return absl::OkStatus(); }));
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), epoch);
}

TEST_F(BlobLedgerUploads, HaveReferencesOfTheLedgersToWhatTheyFoundLongAgo) {
  AddPack(2);
  std::optional<BlobLedger::Upload> upload(ledger_.BeginUpload());
  EXPECT_TRUE(Find(*upload, 1));
  EXPECT_GT(ledger_.HoldTime(), absl::ZeroDuration());
  const int64_t epoch = Condemn();
  ASSERT_OK(ledger_.SecureFound());
  EXPECT_LT(Oldest(), epoch) << "it may be over soon";
  EXPECT_EQ(FindChunk(1)->refs, 0);
  ASSERT_OK(ledger_.SecureFound());
  EXPECT_EQ(Oldest(), epoch);
  EXPECT_EQ(ledger_.HoldTime(), absl::ZeroDuration());
  EXPECT_EQ(FindChunk(1)->refs, 1);
  // And so on.
  EXPECT_TRUE(Find(*upload, 2));
  const int64_t later = Condemn();
  ASSERT_OK(ledger_.SecureFound());
  EXPECT_EQ(Oldest(), epoch);
  ASSERT_OK(ledger_.SecureFound());
  EXPECT_EQ(Oldest(), later);
  EXPECT_EQ(FindChunk(1)->refs, 1);
  EXPECT_EQ(FindChunk(2)->refs, 1);
  upload.reset();
  Release();
  EXPECT_EQ(FindChunk(1)->refs, 0);
  EXPECT_EQ(FindChunk(2)->refs, 0);
}

TEST_F(BlobLedgerUploads, HaveThemHoweverMuchTheyFound) {
  AddPack(1);
  std::optional<BlobLedger::Upload> upload(ledger_.BeginUpload());
  const auto found = static_cast<int64_t>(2 * Transaction::kMaxRecipePart + 1);
  for (int64_t i = 0; i < found; ++i) EXPECT_TRUE(Find(*upload, 1));
  ASSERT_OK(ledger_.SecureFound());
  ASSERT_OK(ledger_.SecureFound());
  EXPECT_EQ(FindChunk(1)->refs, found);
}

// Room must come back above all where there is none.
TEST_F(BlobLedgerUploads, HoldNothingBackOnAFullDisk) {
  AddPack(1);
  BlobLedger::Upload upload = ledger_.BeginUpload();
  EXPECT_TRUE(Find(upload, 1));
  const int64_t epoch = Condemn();
  ASSERT_OK(ledger_.SecureFound());
  catalog_.closed = true;
  EXPECT_THAT(ledger_.SecureFound(), HasReason(Reason::kStorageFull));
  catalog_.closed = false;
  ASSERT_OK(ledger_.PublishNow());
  EXPECT_EQ(Oldest(), epoch);
}

TEST_F(BlobLedgerUploads, AreNotHurriedByRenewals) {
  AddPack(1);
  BlobLedger::Upload upload = ledger_.BeginUpload();
  EXPECT_TRUE(Find(upload, 1));
  const int64_t epoch = Condemn();
  for (int i = 0; i < 3; ++i) ASSERT_OK(ledger_.Renew());
  EXPECT_LT(Oldest(), epoch);
  EXPECT_EQ(FindChunk(1)->refs, 0);
}

TEST_F(BlobLedgerUploads, HoldNothingOfWhatIsGone) {
  BlobLedger::Upload upload = ledger_.BeginUpload();
  ASSERT_OK(upload.Find(Ref(1), [](int64_t) { return true; }));
  const int64_t epoch = Condemn();
  ASSERT_OK(ledger_.SecureFound());
  ASSERT_OK(ledger_.SecureFound());
  EXPECT_EQ(Oldest(), epoch);
}

TEST_F(BlobLedgerTest, SaysWhyThereIsNoBlob) {
  catalog_.closed = true;
  EXPECT_THAT(ledger_.Take(), HasReason(Reason::kStorageFull));
  catalog_.closed = false;
  EXPECT_OK(ledger_.Take());
}

}  // namespace
}  // namespace backup::storage
