#include "services/backup/jobs/sweep.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "services/backup/jobs/testing/media.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/ids.h"

namespace backup::jobs {
namespace {

using storage::BlobUse;
using storage::IdOf;
using testing::IsOkAndHolds;

// Cannot delete some blobs.
class StubbornBlobStore final : public storage::BlobStore {
 public:
  std::set<BlobId> stuck;
  bool is_away = false;
  bool is_far = false;
  int deletes = 0;
  int syncs = 0;
  absl::Status synced;

  absl::StatusOr<std::unique_ptr<storage::StagedBlob>> Stage(
      const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) override {
    return store_.Stage(id, source, expected_size);
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override {
    return store_.Open(id);
  }
  absl::StatusOr<bool> Delete(const BlobId& id) override {
    ++deletes;
    if (is_away) return MakeError(Reason::kBackendDown, "no answer", storage::kBlobsSubject);
    if (stuck.contains(id)) return MakeError(Reason::kStorageIo, "the medium is broken");
    return store_.Delete(id);
  }
  absl::Status SyncDeletes() override {
    ++syncs;
    return synced;
  }
  absl::Status List(
      const std::function<absl::Status(const storage::BlobInfo&)>& visit) const override {
    return store_.List(visit);
  }

  bool is_elsewhere() const override { return is_far; }

 private:
  storage::MemoryBlobStore store_;
};

class SweepTest : public ::testing::Test {
 protected:
  // Puts a blob that is pending for `owner` and, if `dropped`, needed no more.
  void Put(const BlobId& id, const OwnerId& owner, absl::Duration lease, bool dropped = false) {
    ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
      const absl::Status added = transaction.AddPendingBlobs({id}, {owner, clock_.Now() + lease});
      if (!added.ok() || !dropped) return added;
      return transaction.DropPendingBlob(id);
    }));
    StringSource source("content");
    ASSERT_OK(blobs_.Put(id, source, std::nullopt));
  }
  bool IsThere(const BlobId& id) { return blobs_.Open(id).ok(); }
  absl::StatusOr<BlobUse> Use(const BlobId& id) {
    return catalog_.Read([&](storage::Snapshot& snapshot) { return snapshot.FindBlob(id); });
  }
  int64_t Dropped() {
    return catalog_.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); })
        ->dropped_blobs;
  }
  // From the beginning to the end, in steps; returns how many blobs were removed.
  absl::StatusOr<int64_t> Run(int64_t budget = 2) {
    int64_t count = 0;
    Job::Progress progress;
    while (!progress.is_done) {
      auto next = sweep_.Step(progress.cursor, budget, std::stop_token());
      if (!next.ok()) return next.status();
      progress = *std::move(next);
      count += progress.count;
    }
    return count;
  }

  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  storage::MemoryCatalog catalog_;
  StubbornBlobStore blobs_;
  const OwnerId self_ = IdOf<OwnerId>(1);
  const OwnerId other_ = IdOf<OwnerId>(2);
  storage::BlobLedger ledger_{catalog_, clock_, self_};
  Sweep sweep_{catalog_, blobs_, ledger_, clock_, Counter()};
};

TEST_F(SweepTest, RemovesWhatWasDroppedAndForgetsIt) {
  for (uint8_t i = 1; i <= 5; ++i) Put(IdOf<BlobId>(i), self_, absl::Minutes(1), /*dropped=*/true);
  Put(IdOf<BlobId>(6), self_, absl::Minutes(1));
  EXPECT_THAT(Run(), IsOkAndHolds(5));
  for (uint8_t i = 1; i <= 5; ++i) {
    EXPECT_FALSE(IsThere(IdOf<BlobId>(i)));
    EXPECT_THAT(Use(IdOf<BlobId>(i)), IsOkAndHolds(BlobUse::kUnknown));
  }
  EXPECT_TRUE(IsThere(IdOf<BlobId>(6)));
  EXPECT_THAT(Run(), IsOkAndHolds(0));
}

TEST_F(SweepTest, DeletesAllThoughNoDeleteCanBeSyncedAndForgetsThemOnceItCan) {
  for (uint8_t i = 1; i <= 5; ++i) Put(IdOf<BlobId>(i), self_, absl::Minutes(1), /*dropped=*/true);
  for (const Reason why : {Reason::kStorageIo, Reason::kStorageFull}) {
    blobs_.synced = MakeError(why, "cannot sync a folder");
    EXPECT_OK(Run());
    for (uint8_t i = 1; i <= 5; ++i) {
      EXPECT_FALSE(IsThere(IdOf<BlobId>(i)));
      EXPECT_THAT(Use(IdOf<BlobId>(i)), IsOkAndHolds(BlobUse::kDropped));
    }
  }
  blobs_.synced = absl::OkStatus();
  EXPECT_OK(Run());
  EXPECT_THAT(Use(IdOf<BlobId>(1)), IsOkAndHolds(BlobUse::kUnknown));
}

// Each sync is of many folders, in each of which a few of them were.
TEST_F(SweepTest, SyncsOnceForManyDeletes) {
  constexpr int64_t kBlobs = 5000;
  ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    for (int64_t i = 0; i < kBlobs; ++i) {
      const BlobId id =
          *BlobId::FromBytes(testing::PseudoRandomBytes(BlobId::kSize, static_cast<uint32_t>(i)));
      RETURN_IF_ERROR(transaction.AddPendingBlobs({id}, {self_, clock_.Now()}));
      RETURN_IF_ERROR(transaction.DropPendingBlob(id));
    }
    return absl::OkStatus();
  }));
  EXPECT_THAT(Run(256), IsOkAndHolds(0));
  EXPECT_EQ(blobs_.deletes, kBlobs);
  EXPECT_EQ(blobs_.syncs, 2);
  EXPECT_EQ(Dropped(), 0);
}

TEST_F(SweepTest, SyncsNothingOnceItIsToldToStop) {
  for (uint8_t i = 1; i <= 3; ++i) Put(IdOf<BlobId>(i), self_, absl::Minutes(1), /*dropped=*/true);
  std::stop_source stop;
  ASSERT_OK(sweep_.Step("", 3, std::stop_token()));
  stop.request_stop();
  ASSERT_OK(sweep_.Step(ToHex(IdOf<BlobId>(3)), 3, stop.get_token()));
  EXPECT_EQ(blobs_.syncs, 0);
  EXPECT_EQ(Dropped(), 3);
  EXPECT_THAT(Run(), IsOkAndHolds(0));
  EXPECT_EQ(Dropped(), 0);
}

TEST_F(SweepTest, RemovesAtFirstWhatEveryEarlierProcessLeftWhateverItsLease) {
  Put(IdOf<BlobId>(1), other_, absl::Hours(1000));
  Put(IdOf<BlobId>(2), self_, -absl::Hours(1000));
  EXPECT_THAT(Run(), IsOkAndHolds(1));
  EXPECT_FALSE(IsThere(IdOf<BlobId>(1)));
  EXPECT_TRUE(IsThere(IdOf<BlobId>(2)));
}

TEST_F(SweepTest, RemovesLaterWhatAnotherProcessLeftOnceItsLeaseEnded) {
  ASSERT_OK(Run());
  Put(IdOf<BlobId>(1), other_, absl::Minutes(10));
  clock_.Advance(absl::Minutes(9));
  EXPECT_THAT(Run(), IsOkAndHolds(0));
  clock_.Advance(absl::Minutes(2));
  EXPECT_THAT(Run(), IsOkAndHolds(1));
}

TEST_F(SweepTest, LeavesWhatCannotBeDeletedForTheNextRun) {
  for (uint8_t i = 1; i <= 5; ++i) Put(IdOf<BlobId>(i), self_, absl::Minutes(1), /*dropped=*/true);
  blobs_.stuck.insert(IdOf<BlobId>(2));
  EXPECT_THAT(Run(), IsOkAndHolds(4));
  EXPECT_THAT(Use(IdOf<BlobId>(2)), IsOkAndHolds(BlobUse::kDropped));
  blobs_.stuck.clear();
  EXPECT_THAT(Run(), IsOkAndHolds(1));
  EXPECT_FALSE(IsThere(IdOf<BlobId>(2)));
}

// What nobody waits for any more may be carried out yet.
TEST_F(SweepTest, DeletesAgainWhatMayHaveComeLate) {
  const BlobId id = IdOf<BlobId>(1);
  blobs_.is_far = true;
  Put(id, self_, absl::Minutes(1), /*dropped=*/true);
  ASSERT_OK(blobs_.Delete(id));
  EXPECT_THAT(Run(), IsOkAndHolds(0));
  EXPECT_THAT(Use(id), IsOkAndHolds(BlobUse::kDropped));
  StringSource late("content");
  ASSERT_OK(blobs_.Put(id, late, std::nullopt));
  EXPECT_THAT(Run(), IsOkAndHolds(0));
  EXPECT_EQ(blobs_.deletes, 2);
  clock_.Advance(Sweep::kLateness);
  EXPECT_THAT(Run(), IsOkAndHolds(1));
  EXPECT_FALSE(IsThere(id));
  EXPECT_THAT(Use(id), IsOkAndHolds(BlobUse::kUnknown));
}

// Each of the others would wait as long.
TEST_F(SweepTest, EndsWhenTheStoreIsAway) {
  for (uint8_t i = 1; i <= 5; ++i) Put(IdOf<BlobId>(i), self_, absl::Minutes(1), /*dropped=*/true);
  blobs_.is_away = true;
  EXPECT_THAT(Run(), testing::HasReason(Reason::kBackendDown));
  EXPECT_EQ(blobs_.deletes, 1);
  blobs_.is_away = false;
  EXPECT_THAT(Run(), IsOkAndHolds(5));
}

TEST_F(SweepTest, KeepsWhatTheCatalogNeverHeardOf) {
  StringSource source("nobody's");
  ASSERT_OK(blobs_.Put(IdOf<BlobId>(1), source, std::nullopt));
  EXPECT_THAT(Run(), IsOkAndHolds(0));
  EXPECT_TRUE(IsThere(IdOf<BlobId>(1)));
}

TEST_F(SweepTest, CountsOnlyBlobsThatWereThere) {
  ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) {
    return transaction.AddPendingBlobs({IdOf<BlobId>(1)}, {other_, clock_.Now()});
  }));
  EXPECT_THAT(Run(), IsOkAndHolds(0));
  EXPECT_THAT(Use(IdOf<BlobId>(1)), IsOkAndHolds(BlobUse::kUnknown));
}

TEST(SweepOfContent, LetsGoOfTheChunksOfVersionsThatAreGone) {
  TestMedia media;
  ChunkWorld world(media.MakeQuickly(On::kDisk));
  std::vector<std::string> chunks;
  for (int i = 0; i < 1500; ++i) chunks.push_back(RandomBytes(i, 10));
  world.Store("file", chunks);
  world.Store("other", {chunks[0], chunks[1]});
  world.DeleteVersions("file");
  EXPECT_EQ(world.Count().dropped_recipes, 1);
  int released = 0;
  Sweep sweep(*world.catalog, *world.blobs, *world.ledger, world.clock, Counter(),
              [&] { ++released; });
  EXPECT_THAT(world.Run(sweep), IsOkAndHolds(0));
  EXPECT_EQ(released, 1);
  EXPECT_EQ(world.Count().dropped_recipes, 0);
  EXPECT_EQ(world.Count().chunks, 2);
  EXPECT_THAT(world.Run(sweep), IsOkAndHolds(0));
  EXPECT_EQ(released, 1);
  world.ExpectAllIsThere();
}

}  // namespace
}  // namespace backup::jobs
