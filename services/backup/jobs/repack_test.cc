#include "services/backup/jobs/repack.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <latch>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/testing/status_matchers.h"
#include "content/pack_footer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "services/backup/jobs/testing/media.h"

namespace backup::jobs {
namespace {

using storage::PackInfo;
using storage::StorageForm;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::IsOkAndHolds;

constexpr int64_t kMiB = 1 << 20;
constexpr char kAnyKey[] = "of any pack, for its size alone.";

PackInfo PackOf(int64_t number, int64_t size, int64_t live, int64_t waiting = 0) {
  PackInfo pack;
  pack.pack = number;
  pack.size_bytes = size;
  pack.live_bytes = live;
  pack.waiting_bytes = waiting;
  return pack;
}

std::vector<int64_t> Chosen(const std::vector<PackInfo>& packs) {
  std::vector<int64_t> numbers;
  for (const PackInfo& pack : ChooseToRewrite(packs)) numbers.push_back(pack.pack);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

TEST(ChooseToRewrite, TakesWhatIsDeadOrWaits) {
  EXPECT_THAT(Chosen({PackOf(1, 60 * kMiB, 50 * kMiB), PackOf(2, 60 * kMiB, 30 * kMiB),
                      PackOf(3, 60 * kMiB, 59 * kMiB, kMiB), PackOf(4, 1000, 0)}),
              ElementsAre(2, 3, 4));
}

TEST(ChooseToRewrite, LeavesSmallPacksUntilTheyMakeAMuchLargerOne) {
  EXPECT_THAT(Chosen({PackOf(1, kMiB, kMiB)}), IsEmpty());
  EXPECT_THAT(Chosen({PackOf(1, kMiB, kMiB), PackOf(2, kMiB, kMiB), PackOf(3, kMiB, kMiB)}),
              IsEmpty());
  EXPECT_THAT(Chosen({PackOf(1, kMiB, kMiB), PackOf(2, kMiB, kMiB), PackOf(3, kMiB, kMiB),
                      PackOf(4, kMiB, kMiB), PackOf(5, 8 * kMiB, 8 * kMiB)}),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Chosen({PackOf(1, 9 * kMiB, 9 * kMiB), PackOf(2, 9 * kMiB, 9 * kMiB)}),
              ElementsAre(1, 2));
}

TEST(ChooseToRewrite, DoesNotMindAFooterThatTellsMuch) {
  PackInfo pack = PackOf(1, 600'000, 50'000);
  EXPECT_THAT(Chosen({pack}), ElementsAre(1));
  pack.footer_bytes = 540'000;
  EXPECT_THAT(Chosen({pack}), IsEmpty());
  // Several such have no room in one.
  std::vector<PackInfo> packs;
  for (int i = 1; i <= 8; ++i) packs.push_back(PackOf(i, kMiB, kMiB - 200'000));
  for (PackInfo& each : packs) each.footer_bytes = 200'000;
  EXPECT_THAT(Chosen(packs), IsEmpty());
}

TEST(ChooseToRewrite, DoesNotMindTheFooterOfATinyPack) {
  EXPECT_THAT(Chosen({PackOf(1, 500, 100)}), IsEmpty());
}

TEST(ChooseToRewrite, LeavesSmallPacksOfManyChunks) {
  std::vector<PackInfo> packs;
  for (int i = 1; i <= 8; ++i) packs.push_back(PackOf(i, kMiB, kMiB));
  for (int i = 0; i < 4; ++i) packs[static_cast<size_t>(i)].chunk_count = 256;
  EXPECT_THAT(Chosen(packs), ElementsAre(5, 6, 7, 8));
}

TEST(ChooseToRewrite, DoesNotMixForms) {
  std::vector<PackInfo> packs;
  for (int i = 1; i <= 4; ++i) packs.push_back(PackOf(i, kMiB, kMiB));
  packs[1].form = StorageForm::kSealed;
  EXPECT_THAT(Chosen(packs), IsEmpty());
}

class RepackTest : public ::testing::TestWithParam<Places> {
 protected:
  Medium MakeMedium() { return media_.Make(GetParam().on); }
  HowStored How(bool compressed = false, bool waits = false) const {
    return {GetParam().form, compressed, waits};
  }
  // Ten chunks in one pack, all but one of which are needed by nothing soon.
  static void StoreWithGarbage(ChunkWorld& world, const HowStored& how) {
    std::vector<std::string> chunks;
    for (int i = 0; i < 10; ++i) chunks.push_back(RandomBytes(i, 100'000 + i));
    world.Store("all", chunks, how);
    world.Store("some", {chunks[3], chunks[7], chunks[3]}, how);
    world.Delete("all");
  }

  // The same, but in packs that are not rewritten together with the others.
  static void StoreWithGarbageOfTheOtherForm(ChunkWorld& world) {
    const HowStored how{GetParam().form == StorageForm::kPlain ? StorageForm::kSealed
                                                               : StorageForm::kPlain};
    std::vector<std::string> chunks;
    for (int i = 0; i < 10; ++i) chunks.push_back(RandomBytes(500 + i, 100'000 + i));
    world.Store("all of the other form", chunks, how);
    world.Store("some of the other form", {chunks[1], chunks[2]}, how);
    world.Delete("all of the other form");
  }

  static absl::StatusOr<int64_t> RunOnlyRequired(ChunkWorld& world, RequiredPacks& required) {
    Repack::Options options;
    options.patience = absl::ZeroDuration();
    options.required = &required;
    options.only_required = true;
    Repack repack(world.resources(), options, Counter());
    return world.Run(repack);
  }

  TestMedia media_;
};

TEST_P(RepackTest, GivesBackTheRoomOfWhatNothingNeeds) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  ASSERT_EQ(world.Packs().size(), 1);
  EXPECT_GT(world.Packs()[0].size_bytes, 1'000'000);
  const BlobId old = world.Packs()[0].blob_id;
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  ASSERT_EQ(world.Packs().size(), 1);
  EXPECT_LT(world.Packs()[0].size_bytes, 210'000);
  EXPECT_EQ(world.Packs()[0].form, GetParam().form);
  EXPECT_FALSE(world.blobs->Open(old).ok());
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, RemovesAPackThatNothingNeeds) {
  ChunkWorld world(MakeMedium());
  world.Store("file", {RandomBytes(1, 100'000)}, How());
  world.Delete("file");
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_THAT(world.Packs(), IsEmpty());
  EXPECT_EQ(world.BlobCount(), 0);
}

TEST_P(RepackTest, RemovesAPackOfMoreChunksThanOneTransactionTakes) {
  ChunkWorld world(MakeMedium());
  std::vector<std::string> chunks;
  for (int i = 0; i < 2500; ++i) chunks.push_back(RandomBytes(i, 50));
  world.Store("file", chunks, How());
  world.Delete("file");
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_THAT(world.Packs(), IsEmpty());
  EXPECT_EQ(world.BlobCount(), 0);
}

TEST_P(RepackTest, RemovesWhatNeedsNoRoomOnAFullDisk) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  world.Store("file", {RandomBytes(100, 100'000)}, How());
  world.Delete("file");
  EXPECT_EQ(world.Packs().size(), 2);
  world.blobs->put_error = MakeError(Reason::kStorageFull, "the disk is full");
  EXPECT_EQ(ReasonOf(world.RunRepack().status()), Reason::kStorageFull);
  EXPECT_EQ(world.Packs().size(), 1);
  world.ExpectAllIsThere();
  world.blobs->put_error = absl::OkStatus();
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
}

TEST_P(RepackTest, RemovesWhatNeedsNoRoomBehindMuchThatDoes) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 70; ++i)
    world.Store(absl::StrCat("text", i), {TextBytes(i, 1000)}, How(false, /*waits=*/true));
  world.blobs->put_error = MakeError(Reason::kStorageFull, "the disk is full");
  EXPECT_EQ(ReasonOf(world.RunRepack().status()), Reason::kStorageFull);
  world.blobs->put_error = absl::OkStatus();
  world.Store("file", {RandomBytes(100, 100'000)}, How());
  world.Delete("file");
  world.blobs->put_error = MakeError(Reason::kStorageFull, "the disk is full");
  EXPECT_EQ(world.Packs().size(), 71);
  EXPECT_EQ(ReasonOf(world.RunRepack().status()), Reason::kStorageFull);
  EXPECT_EQ(world.Packs().size(), 70);
  world.blobs->put_error = absl::OkStatus();
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(70));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, GoesOnBehindAPackThatTheMediumDoesNotGiveNow) {
  ChunkWorld world(MakeMedium());
  std::vector<std::string> chunks;
  for (int i = 0; i < 1100; ++i) chunks.push_back(RandomBytes(1000 + i, 100));
  chunks.push_back(RandomBytes(5000, 500'000));
  world.Store("with garbage", chunks, How());
  chunks.pop_back();
  world.Store("first", chunks, How());
  world.Delete("with garbage");
  const BlobId first = world.Packs()[0].blob_id;
  StoreWithGarbage(world, How());
  world.blobs->unreadable = first;
  EXPECT_EQ(ReasonOf(world.RunRepack().status()), Reason::kStorageIo);
  ASSERT_EQ(world.Packs().size(), 2);
  EXPECT_EQ(world.Packs()[0].blob_id, first);
  EXPECT_LT(world.Packs()[1].size_bytes, 210'000);
  for (const storage::StoredChunk& chunk : world.ChunksOf("first")) EXPECT_FALSE(chunk.is_damaged);
  world.blobs->unreadable = std::nullopt;
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, RewritesTheOthersThatWereToGoTogetherWithOneThatCannotBeRead) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  std::vector<std::string> others;
  for (int i = 0; i < 10; ++i) others.push_back(RandomBytes(500 + i, 100'000 + i));
  world.Store("all others", others, How());
  world.Store("some others", {others[1], others[2]}, How());
  world.Delete("all others");
  ASSERT_EQ(world.Packs().size(), 2);
  const BlobId bad = world.Packs()[0].blob_id;
  const BlobId good = world.Packs()[1].blob_id;
  // Its footer can be read, the first time.
  int opened = 0;
  world.blobs->before_open = [&](const BlobId& id) {
    if (id == bad && ++opened == 2) world.blobs->unreadable = bad;
  };
  EXPECT_EQ(ReasonOf(world.RunRepack().status()), Reason::kStorageIo);
  ASSERT_EQ(world.Packs().size(), 2);
  EXPECT_EQ(world.Packs()[0].blob_id, bad);
  EXPECT_NE(world.Packs()[1].blob_id, good);
  world.blobs->before_open = [](const BlobId&) {};
  world.blobs->unreadable = std::nullopt;
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, RemovesARequiredPackOfMoreChunksThanOneTransactionTakes) {
  ChunkWorld world(MakeMedium());
  std::vector<std::string> chunks;
  for (int i = 0; i < 1100; ++i) chunks.push_back(RandomBytes(i, 50));
  world.Store("file", chunks, How());
  world.Delete("file");
  world.Store("other", {RandomBytes(5000, 50)}, How());
  world.Delete("other");
  ASSERT_EQ(world.Packs().size(), 2);
  RequiredPacks required;
  required.Require({world.Packs()[0].pack});
  EXPECT_THAT(RunOnlyRequired(world, required), IsOkAndHolds(1));
  ASSERT_EQ(world.Packs().size(), 1);
  EXPECT_EQ(world.Packs()[0].condemned_epoch, 0) << "nobody requires it";
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, RewritesTheOtherRequiredPacksBesideOneThatCannotBeRead) {
  for (const bool is_damaged : {false, true}) {
    ChunkWorld world(MakeMedium());
    RequiredPacks required;
    std::vector<int64_t> packs;
    for (int i = 0; i < 3; ++i) {
      world.Store(absl::StrCat("file", i), {RandomBytes(2 * i, 1000), RandomBytes(2 * i + 1, 900)},
                  How());
      const std::vector<storage::StoredChunk> chunks = world.ChunksOf(absl::StrCat("file", i));
      packs.push_back(chunks[0].pack);
      if (!is_damaged) continue;
      ASSERT_OK(world.catalog->Run([&](storage::Transaction& transaction) {
        return transaction.MarkDamaged(chunks[1].number, chunks[1].pack);
      }));
    }
    required.Require(packs);
    // Its footer can be read, the first time.
    const BlobId bad = world.Packs()[0].blob_id;
    int opened = 0;
    world.blobs->before_open = [&](const BlobId& id) {
      if (id == bad && ++opened == 2) world.blobs->unreadable = bad;
    };
    EXPECT_EQ(ReasonOf(RunOnlyRequired(world, required).status()), Reason::kStorageIo);
    EXPECT_EQ(world.ChunksOf("file0")[0].pack, packs[0]);
    EXPECT_EQ(ReasonOf(required.FailureOf(packs[0])), Reason::kStorageIo);
    EXPECT_NE(world.ChunksOf("file1")[0].pack, packs[1]);
    EXPECT_NE(world.ChunksOf("file2")[0].pack, packs[2]);
  }
}

TEST_P(RepackTest, TakesWhatIsRequiredBeforeMuchThatIsNot) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 70; ++i)
    world.Store(absl::StrCat("text", i), {TextBytes(i, 1000)}, How(false, /*waits=*/true));
  world.Store("file", {RandomBytes(1, 100'000)}, How());
  RequiredPacks required;
  required.Require({world.ChunksOf("file")[0].pack});
  Repack::Options options;
  options.patience = absl::ZeroDuration();
  options.required = &required;
  Repack repack(world.resources(), options, Counter());
  ASSERT_OK(repack.Step("", 1, std::stop_token()));
  EXPECT_GT(world.Packs().back().condemned_epoch, 0);
  ASSERT_OK(world.Run(repack));
  EXPECT_EQ(world.Count().waiting_bytes, 0);
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, EndsWithWhatIsCondemnedAndRequiredByNobodyAnyMore) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  StoreWithGarbageOfTheOtherForm(world);
  const int64_t other = world.Packs()[1].pack;
  RequiredPacks required;
  required.Require({world.Packs()[0].pack});
  world.PublishOfAnother(0);
  EXPECT_THAT(RunOnlyRequired(world, required), IsOkAndHolds(0));
  const int64_t condemned = world.Packs()[0].condemned_epoch;
  EXPECT_GT(condemned, 0);
  required.Require({});
  world.PublishOfAnother(condemned);
  EXPECT_THAT(RunOnlyRequired(world, required), IsOkAndHolds(1));
  const std::vector<PackInfo> packs = world.Packs();
  ASSERT_EQ(packs.size(), 2);
  EXPECT_EQ(packs[0].pack, other);
  EXPECT_EQ(packs[0].condemned_epoch, 0);
  EXPECT_LT(packs[1].size_bytes, 210'000);
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, UsesTheKeysWhileItReads) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  const crypto::KeyRing& keys = world.master_key;
  std::atomic<int> opened = 0;
  world.blobs->before_open = [&](const BlobId&) {
    ++opened;
    EXPECT_FALSE(keys.HaveEnded(keys.NextUse()));
  };
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  EXPECT_GT(opened, 0);
  EXPECT_TRUE(keys.HaveEnded(keys.NextUse()));
}

// Of which there are more than it has condemned at once.
TEST_P(RepackTest, GoesOnBesidePacksWhoseKeyIsMissing) {
  HowStored sealed = How();
  sealed.form = StorageForm::kSealed;
  ChunkWorld world(MakeMedium());
  crypto::KeyRing lost;
  lost.Add(1, std::string(32, 'n'));
  world.packs_ring = &lost;
  constexpr int kLost = 65;
  for (int i = 0; i < kLost; ++i) {
    const std::string needed = RandomBytes(1000 + i, 1000);
    world.Store(absl::StrCat("all ", i), {needed, RandomBytes(2000 + i, 100'000)}, sealed);
    world.Store(absl::StrCat("some ", i), {needed}, sealed);
    world.DeleteVersions(absl::StrCat("all ", i));
  }
  ASSERT_OK(world.Sweep());
  world.packs_ring = &world.master_key;
  StoreWithGarbage(world, How());
  for (int run = 0; run < 2; ++run) {
    EXPECT_EQ(ReasonOf(world.RunRepack().status()), Reason::kKeyMissing);
    const std::vector<PackInfo> packs = world.Packs();
    ASSERT_EQ(packs.size(), kLost + 1);
    EXPECT_LT(packs.back().size_bytes, 210'000);
    // Nor does anything happen to the others.
    for (const PackInfo& pack : packs) EXPECT_EQ(pack.condemned_epoch, 0);
  }
  world.master_key.Add(1, std::string(32, 'n'));
  EXPECT_OK(world.RunRepack());
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, LeavesSmallPacksThatAreTooManyChunksForOne) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 5; ++i) {
    std::vector<std::string> chunks;
    for (int j = 0; j < 300; ++j) chunks.push_back(RandomBytes(i * 1000 + j, 50));
    world.Store(absl::StrCat("file", i), chunks, How());
  }
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  EXPECT_EQ(world.Packs().size(), 5);
}

TEST_P(RepackTest, DoesNothingASecondTime) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  for (int i = 0; i < 30; ++i) {
    world.Store(absl::StrCat("small", i), {RandomBytes(100 + i, 1 + i * 1000)}, How());
    world.Store(absl::StrCat("text", i), {TextBytes(200 + i, 1 + i * 1000)},
                How(/*compressed=*/i % 2 == 0, /*waits=*/i % 2 == 1));
  }
  ASSERT_OK(world.RunRepack());
  ASSERT_OK(world.Sweep());
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
  EXPECT_LT(world.Packs().size(), 20);
  // What came of it may be worth another one, but that soon ends.
  ASSERT_OK(world.RunRepack());
  std::vector<int64_t> before;
  for (const PackInfo& pack : world.Packs()) before.push_back(pack.pack);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  std::vector<int64_t> after;
  for (const PackInfo& pack : world.Packs()) after.push_back(pack.pack);
  EXPECT_EQ(before, after);
}

TEST_P(RepackTest, CompressesWhatWaited) {
  ChunkWorld world(MakeMedium());
  world.Store("file", {TextBytes(1, 500'000), RandomBytes(2, 300'000)}, How(false, true));
  EXPECT_GE(world.Count().waiting_bytes, 800'000);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  EXPECT_EQ(world.Count().waiting_bytes, 0);
  EXPECT_LT(world.Count().compressed_bytes, 500'000);
  EXPECT_EQ(world.Count().unique_bytes, 800'000);
  world.ExpectAllIsThere();
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
}

TEST_P(RepackTest, CompressesNothingIfItIsNotToBe) {
  ChunkWorld world(MakeMedium());
  world.Store("file", {TextBytes(1, 500'000)}, How(false, true));
  world.policy.compression.when = content::CompressionPolicy::When::kNever;
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  EXPECT_GE(world.Count().compressed_bytes, 500'000);
  world.ExpectAllIsThere();
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
}

TEST_P(RepackTest, MakesOnePackOfManySmallOnes) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 20; ++i)
    world.Store(absl::StrCat("file", i), {RandomBytes(i, 100'000), TextBytes(i, 50'000)},
                How(true));
  EXPECT_EQ(world.Packs().size(), 20);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(20));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 1);
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, MakesMoreThanOnePackOfMuch) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 6; ++i) {
    std::vector<std::string> chunks;
    for (int j = 0; j < 8; ++j) chunks.push_back(RandomBytes(i * 10 + j, 4 << 20));
    world.Store(absl::StrCat("all", i), chunks, How());
    world.Store(absl::StrCat("some", i), {chunks[0], chunks[2], chunks[3], chunks[6]}, How());
    world.Delete(absl::StrCat("all", i));
  }
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(6));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 2);
  for (const PackInfo& pack : world.Packs()) EXPECT_LE(pack.size_bytes, 64 * kMiB);
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, MovesMoreChunksThanOneTransactionTakes) {
  ChunkWorld world(MakeMedium());
  std::vector<std::string> chunks;
  for (int i = 0; i < 2500; ++i) chunks.push_back(RandomBytes(i, 100));
  chunks.push_back(RandomBytes(5000, 500'000));
  world.Store("all", chunks, How());
  chunks.pop_back();
  world.Store("most", chunks, How());
  world.Delete("all");
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, KnowsChunksOfAClientsOwn) {
  ChunkWorld world(MakeMedium());
  HowStored how = How();
  how.for_client = true;
  StoreWithGarbage(world, how);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  world.ExpectAllIsThere();
  EXPECT_FALSE(world.ChunksOf("some")[0].is_damaged);
}

TEST_P(RepackTest, CallsNothingDamagedWhoseClientIsDeletedMeanwhile) {
  ChunkWorld world(MakeMedium());
  HowStored how = How();
  how.for_client = true;
  StoreWithGarbage(world, how);
  const int64_t pack = world.Packs()[0].pack;
  bool has_its_footer = false;
  world.blobs->before_open = [&](const BlobId&) {
    if (!std::exchange(has_its_footer, true)) return;
    world.blobs->before_open = [](const BlobId&) {};
    world.Delete("some");
    world.DeleteClient();
    // So that what is left stays for now.
    world.PublishOfAnother(world.Packs()[0].condemned_epoch);
  };
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  const auto chunks = world.catalog->Read(
      [&](storage::Snapshot& snapshot) { return snapshot.ListPackChunks(pack, -1, 100); });
  ASSERT_OK(chunks);
  EXPECT_FALSE(chunks->empty());
  for (const storage::StoredChunk& chunk : *chunks) EXPECT_FALSE(chunk.is_damaged);
}

TEST_P(RepackTest, CallsNothingDamagedOfADeletedClientThatIsStillToBeReleased) {
  ChunkWorld world(MakeMedium());
  HowStored how = How();
  how.for_client = true;
  StoreWithGarbage(world, how);
  world.DeleteVersions("some");
  world.DeleteClient();
  EXPECT_EQ(world.Count().dropped_recipes, 1);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_EQ(world.Packs().size(), 1);
  const auto chunks = world.catalog->Read([&](storage::Snapshot& snapshot) {
    return snapshot.ListPackChunks(world.Packs()[0].pack, -1, 100);
  });
  ASSERT_OK(chunks);
  EXPECT_EQ(chunks->size(), 2);
  for (const storage::StoredChunk& chunk : *chunks) EXPECT_FALSE(chunk.is_damaged);
  ASSERT_OK(world.Sweep());
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.BlobCount(), 0);
}

TEST_P(RepackTest, LeavesADamagedChunkWhereItIsUntilItComesAgain) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  const std::string plain = world.expected["some"];
  const storage::StoredChunk bad = world.ChunksOf("some")[1];
  world.Damage(bad.pack_blob, bad.offset + 5);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  ASSERT_OK(world.Sweep());
  std::vector<storage::StoredChunk> chunks = world.ChunksOf("some");
  EXPECT_TRUE(chunks[1].is_damaged);
  EXPECT_EQ(chunks[1].pack, bad.pack);
  EXPECT_FALSE(chunks[0].is_damaged);
  EXPECT_NE(chunks[0].pack, bad.pack);
  EXPECT_TRUE(world.blobs->Open(bad.pack_blob).ok());
  // It is left alone.
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  EXPECT_EQ(world.Packs().size(), 2);
  // Heals, and then the pack can go.
  world.Store("again", {RandomBytes(7, 100'007)}, How());
  ASSERT_OK(world.RunRepack());
  ASSERT_OK(world.Sweep());
  EXPECT_FALSE(world.blobs->Open(bad.pack_blob).ok());
  EXPECT_EQ(world.expected["some"], plain);
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, LeavesOutEachDamagedChunkOfThoseThatAreReadAtOnce) {
  for (const bool compressed : {false, true}) {
    ChunkWorld world(MakeMedium());
    std::vector<std::string> chunks;
    for (int i = 0; i < 20; ++i) {
      chunks.push_back(compressed ? TextBytes(i, 400'000 + i * 1000)
                                  : RandomBytes(i, 100'000 + i * 10'000));
    }
    world.Store("all", chunks, How(compressed));
    const std::vector<std::string> needed(chunks.begin() + 10, chunks.end());
    world.Store("some", needed, How(compressed));
    world.Delete("all");
    const std::vector<storage::StoredChunk> before = world.ChunksOf("some");
    const std::set<size_t> bad = {0, 2, 3, 9};
    for (const size_t i : bad)
      world.Damage(before[i].pack_blob, before[i].offset + before[i].stored_size / 2);
    EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
    const std::vector<storage::StoredChunk> after = world.ChunksOf("some");
    for (size_t i = 0; i < after.size(); ++i) {
      EXPECT_EQ(after[i].is_damaged, bad.contains(i)) << i;
      EXPECT_EQ(after[i].pack == before[i].pack, bad.contains(i)) << i;
    }
    for (const size_t i : bad) world.Store(absl::StrCat("again", i), {needed[i]}, How(compressed));
    ASSERT_OK(world.RunRepack());
    ASSERT_OK(world.Sweep());
    world.ExpectAllIsThere();
    world.ExpectNothingElseIsThere();
  }
}

TEST_P(RepackTest, ReadsForTheNextPackWhileOneIsBroughtToTheMedium) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  StoreWithGarbageOfTheOtherForm(world);
  // What is of two forms makes two packs.
  std::latch has_read_on(1);
  std::atomic<int> commits = 0;
  Mutex mutex;
  std::map<BlobId, int> opened;
  int read = 0;
  world.blobs->before_open = [&](const BlobId& id) {
    const MutexLock lock(mutex);
    // First for its footer, then for its chunks.
    if (++opened[id] == 2 && ++read == 2) has_read_on.count_down();
  };
  world.blobs->after_commit = [&] {
    if (commits++ == 0) has_read_on.wait();
  };
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(2));
  EXPECT_EQ(commits, 2);
  world.blobs->before_open = [](const BlobId&) {};
  ASSERT_OK(world.Sweep());
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, CondemnsWhatComesThenWhileItRewrites) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 70; ++i)
    world.Store(absl::StrCat("text", i), {TextBytes(i, 1000)}, How(false, /*waits=*/true));
  const auto condemned = [&] {
    const std::vector<PackInfo> packs = world.Packs();
    return std::count_if(packs.begin(), packs.end(),
                         [](const PackInfo& pack) { return pack.condemned_epoch > 0; });
  };
  Repack repack(world.resources(), {/*bytes_per_second=*/0, absl::ZeroDuration()}, Counter());
  // Only so many at once.
  ASSERT_OK(repack.Step("", 1, std::stop_token()));
  EXPECT_EQ(condemned(), 64);
  const absl::StatusOr<Job::Progress> progress = repack.Step("", 1, std::stop_token());
  ASSERT_OK(progress);
  EXPECT_EQ(progress->count, 64);
  EXPECT_EQ(condemned(), 6);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(6));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, MarksTheChunksOfAPackThatIsGone) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  ASSERT_OK(world.medium.blobs->Delete(world.Packs()[0].blob_id));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  for (const storage::StoredChunk& chunk : world.ChunksOf("some")) EXPECT_TRUE(chunk.is_damaged);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
}

TEST_P(RepackTest, WaitsForUploadsThatBeganBefore) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  world.PublishOfAnother(0);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  ASSERT_EQ(world.Packs().size(), 1);
  EXPECT_GT(world.Packs()[0].condemned_epoch, 0);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  world.PublishOfAnother(world.Packs()[0].condemned_epoch);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, KeepsADeadChunkThatAnUploadCameToReferToInTime) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  world.PublishOfAnother(0);
  const ChunkWorld::Upload upload = world.Begin("back", {RandomBytes(5, 100'005)}, How());
  EXPECT_THAT(upload.content.packs, IsEmpty());
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  ASSERT_OK(world.Finish(upload));
  world.PublishOfAnother(world.Packs()[0].condemned_epoch);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, HasADeadChunkStoredAnewByAnUploadThatBeganLater) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  world.PublishOfAnother(0);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  const ChunkWorld::Upload upload = world.Begin("back", {RandomBytes(5, 100'005)}, How());
  EXPECT_EQ(upload.content.packs.size(), 1);
  world.PublishOfAnother(world.Packs()[0].condemned_epoch);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Finish(upload));
  ASSERT_OK(world.Sweep());
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, TellsAnUploadThatWasBelievedDeadToBeSentAgain) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  // Nobody has published an epoch for it: its owner's lease ended.
  const ChunkWorld::Upload upload = world.Begin("back", {RandomBytes(5, 100'005)}, How());
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  EXPECT_EQ(ReasonOf(world.Finish(upload)), Reason::kBackendDown);
  world.Store("back", {RandomBytes(5, 100'005)}, How());
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, DeletesAgainstAnUploadOfTheSameContent) {
  ChunkWorld world(MakeMedium());
  world.Store("first", {RandomBytes(1, 100'000), RandomBytes(2, 100'000)}, How());
  const ChunkWorld::Upload upload =
      world.Begin("second", {RandomBytes(2, 100'000), RandomBytes(3, 100'000)}, How());
  world.Delete("first");
  ASSERT_OK(world.Finish(upload));
  ASSERT_OK(world.RunRepack());
  ASSERT_OK(world.Sweep());
  world.ExpectAllIsThere();
  EXPECT_EQ(world.Count().chunks, 2);
}

TEST_P(RepackTest, LeavesAReaderWhatItHasOpened) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  bool is_first = true;
  world.blobs->before_open = [&](const BlobId&) {
    if (!std::exchange(is_first, false)) return;
    world.ExpectAllIsThere();
  };
  const storage::StoredChunk chunk = world.ChunksOf("some")[0];
  const auto open = world.medium.blobs->Open(chunk.pack_blob);
  ASSERT_OK(open);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  std::string bytes(static_cast<size_t>(chunk.stored_size), '\0');
  EXPECT_OK((*open)->ReadAt(chunk.offset, bytes));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, StopsInTheMiddleWhenItIsToldTo) {
  ChunkWorld world(MakeMedium());
  StoreWithGarbage(world, How());
  std::stop_source stop;
  std::atomic<int> opened = 0;
  world.blobs->before_open = [&](const BlobId&) {
    // First for its footer, then for its chunks.
    if (++opened == 2) stop.request_stop();
  };
  Repack repack(world.resources(), {/*bytes_per_second=*/1'000'000, absl::ZeroDuration()},
                Counter());
  for (int i = 0; i < 5; ++i) {
    const absl::StatusOr<Job::Progress> progress = repack.Step("", 1, stop.get_token());
    ASSERT_OK(progress);
    EXPECT_EQ(progress->count, 0);
  }
  world.blobs->before_open = [](const BlobId&) {};
  world.ExpectAllIsThere();
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
}

// What the packs of a store tell of, part by part.
std::vector<content::PackFooter::Part> PartsOf(ChunkWorld& world) {
  std::vector<content::PackFooter::Part> parts;
  for (const PackInfo& pack : world.Packs()) {
    const auto footer = content::ReadPackFooter(**world.blobs->Open(pack.blob_id));
    EXPECT_EQ(pack.footer_bytes, std::ssize(content::EncodePackFooter(*footer, kAnyKey)));
    parts.insert(parts.end(), footer->parts.begin(), footer->parts.end());
  }
  return parts;
}

TEST_P(RepackTest, TakesAlongWhatPacksTellOfVersions) {
  ChunkWorld world(MakeMedium());
  HowStored how = How();
  for (int i = 0; i < 20; ++i) {
    how.chunks_per_pack = i % 2 == 0 ? 1 : 0;
    world.Store(absl::StrCat("file", i), {RandomBytes(i, 100'000), TextBytes(i, 50'000)}, how);
  }
  EXPECT_EQ(PartsOf(world).size(), 30);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(30));
  ASSERT_OK(world.Sweep());
  ASSERT_EQ(world.Packs().size(), 1);
  EXPECT_EQ(PartsOf(world).size(), 30);
  world.ExpectAllIsThere();
  // And again, from a pack with many.
  for (int i = 0; i < 15; ++i) world.Delete(absl::StrCat("file", i));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(PartsOf(world).size(), 7);
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
}

TEST_P(RepackTest, LeavesOutPartsThatNameWhatGoes) {
  ChunkWorld world(MakeMedium());
  const std::vector<std::string> chunks = {RandomBytes(1, 100'000), RandomBytes(2, 100'000),
                                           RandomBytes(3, 100'000)};
  HowStored how = How();
  how.chunks_per_pack = 2;
  // The first part names a chunk that goes; all chunks of the last one stay.
  world.Store("gone", chunks, how);
  world.Store("left", {chunks[0], chunks[2], RandomBytes(4, 1000)}, How());
  world.Delete("gone");
  EXPECT_EQ(PartsOf(world).size(), 3);
  for (int i = 0; i < 8; ++i)
    world.Store(absl::StrCat("small", i), {RandomBytes(100 + i, 100'000)}, How());
  ASSERT_OK(world.RunRepack());
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 1);
  EXPECT_EQ(PartsOf(world).size(), 10);
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, TellsTheSameInEachPackThatASourceIsSplitInto) {
  ChunkWorld world(MakeMedium());
  std::vector<std::string> chunks;
  for (int i = 0; i < 2500; ++i) chunks.push_back(RandomBytes(i, 100));
  world.Store("file", chunks, How(/*compressed=*/false, /*waits=*/true));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 3);
  EXPECT_EQ(PartsOf(world).size(), 3);
  world.ExpectAllIsThere();
}

// A chunk of its own and many that were there.
void StoreWithLongRecipe(ChunkWorld& world, int number, const HowStored& how) {
  std::vector<std::string> chunks(6000, "known");
  chunks.push_back(RandomBytes(number, 1000));
  world.Store(absl::StrCat("long", number), chunks, how);
}

TEST_P(RepackTest, BeginsAnotherPackWhenWhatTheyTellHasNoRoom) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 4; ++i) StoreWithLongRecipe(world, i, How(false, /*waits=*/true));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(4));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 2);
  EXPECT_EQ(PartsOf(world).size(), 4);
  world.ExpectAllIsThere();
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
}

TEST_P(RepackTest, TakesNothingAlongOfAPackThatHasNoRoom) {
  ChunkWorld world(MakeMedium());
  std::vector<std::string> chunks;
  for (int i = 0; i < 600; ++i) chunks.push_back(RandomBytes(i, 100));
  world.Store("first", chunks, How(/*compressed=*/false, /*waits=*/true));
  // It names a chunk of the first, whose new pack has no room for its own.
  chunks.resize(1);
  for (int i = 0; i < 1000; ++i) chunks.push_back(RandomBytes(1000 + i, 100));
  world.Store("second", chunks, How(false, /*waits=*/true));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(2));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 2);
  EXPECT_EQ(PartsOf(world).size(), 2);
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, TakesNoFooterForGarbageThatItKnows) {
  ChunkWorld world(MakeMedium());
  for (int i = 0; i < 5; ++i) StoreWithLongRecipe(world, i, How());
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  // Older programs did not say how large it is: then that is found out once.
  ChunkWorld::Upload upload = world.Begin("old", {RandomBytes(100, 1000)}, How());
  storage::NewPack& pack = upload.content.packs[0];
  pack.size_bytes += 500'000;
  pack.footer_bytes = 0;
  ASSERT_OK(world.Finish(upload));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(0));
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, KeepsTheChunksOfAPackWhoseFooterIsDamaged) {
  ChunkWorld world(MakeMedium());
  world.Store("file", {RandomBytes(1, 100'000)}, How(false, /*waits=*/true));
  const PackInfo pack = world.Packs()[0];
  world.Damage(pack.blob_id, pack.size_bytes - pack.footer_bytes + 1);
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_THAT(PartsOf(world), IsEmpty());
  world.told.clear();
  world.ExpectAllIsThere();
}

// Whoever has no key of a sealed pack cannot make it tell what others will believe.
TEST_P(RepackTest, BelievesNoFooterOfAnotherPack) {
  ChunkWorld world(MakeMedium());
  world.Store("file1", {RandomBytes(1, 100'000)}, How(false, /*waits=*/true));
  world.Store("file2", {RandomBytes(2, 100'000)}, How());
  const BlobId ids[] = {world.Packs()[0].blob_id, world.Packs()[1].blob_id};
  std::string bytes[2];
  for (int i = 0; i < 2; ++i) {
    const auto blob = *world.blobs->Open(ids[i]);
    bytes[i].resize(static_cast<size_t>(blob->size_bytes()));
    ASSERT_OK(blob->ReadAt(0, bytes[i]));
  }
  const auto footer_bytes = static_cast<size_t>(world.Packs()[1].footer_bytes);
  StringSource swapped(bytes[0].substr(0, bytes[0].size() - footer_bytes) +
                       bytes[1].substr(bytes[1].size() - footer_bytes));
  ASSERT_OK(world.blobs->Delete(ids[0]));
  ASSERT_OK(world.blobs->Put(ids[0], swapped, std::nullopt));
  EXPECT_THAT(world.RunRepack(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(PartsOf(world).size(), 1);
  world.told.erase("file1");
  world.ExpectAllIsThere();
}

TEST_P(RepackTest, LosesNothingWhereverItIsKilled) {
  for (const Death::When when : {Death::When::kBefore, Death::When::kAfter}) {
    bool was_killed = true;
    for (int calls = 1; was_killed; ++calls) {
      ASSERT_LT(calls, 100);
      SCOPED_TRACE(absl::StrCat(calls, when == Death::When::kBefore ? " before" : " after"));
      ChunkWorld world(media_.MakeQuickly(GetParam().on));
      StoreWithGarbage(world, How());
      world.Store("dead", {RandomBytes(50, 1000)}, How());
      HowStored in_two = How(false, true);
      in_two.chunks_per_pack = 1;
      world.Store("text", {TextBytes(51, 200'000), TextBytes(52, 1000)}, in_two);
      world.Delete("dead");
      // So that two packs are made, one beside the other.
      StoreWithGarbageOfTheOtherForm(world);
      const storage::StoredChunk bad = world.ChunksOf("some")[1];
      world.Damage(bad.pack_blob, bad.offset + 5);
      world.death.After(calls, when);
      const absl::Status killed = world.RunRepack().status();
      if (killed.ok()) world.Sweep().IgnoreError();
      was_killed = world.death.has_come();
      world.Restart();
      world.ExpectAllIsTold();
      ASSERT_OK(world.RunRepack());
      ASSERT_OK(world.Sweep());
      world.Store("again", {RandomBytes(7, 100'007)}, How());
      ASSERT_OK(world.RunRepack());
      ASSERT_OK(world.Sweep());
      world.ExpectAllIsThere();
      world.ExpectNothingElseIsThere();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Everywhere, RepackTest, AllPlaces());

}  // namespace
}  // namespace backup::jobs
