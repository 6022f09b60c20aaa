#include "services/backup/jobs/move_contents.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "content/pack_footer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "services/backup/jobs/testing/media.h"

namespace backup::jobs {
namespace {

using storage::StorageForm;
using testing::IsOkAndHolds;

class MoveContentsTest : public ::testing::TestWithParam<Places> {
 protected:
  Medium MakeMedium() { return media_.Make(GetParam().on); }

  // As an older program stored it.
  static void StoreWhole(ChunkWorld& world, const std::string& file_name, const std::string& plain,
                         StorageForm form = GetParam().form) {
    world.StoreWhole(file_name, plain, form);
  }

  TestMedia media_;
};

TEST_P(MoveContentsTest, KeepsOnceWhatWasStoredWhole) {
  ChunkWorld world(MakeMedium());
  const std::string large = RandomBytes(1, 3'000'000);
  StoreWhole(world, "large", large);
  StoreWhole(world, "same", large);
  StoreWhole(world, "small", "content");
  StoreWhole(world, "equal", "content");
  StoreWhole(world, "empty", "");
  EXPECT_EQ(world.Count().unmoved_versions, 5);
  EXPECT_EQ(world.BlobCount(), 2);
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(5));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Count().unmoved_versions, 0);
  EXPECT_EQ(world.Count().blob_bytes, 0);
  EXPECT_EQ(world.Count().unique_bytes, 3'000'007);
  EXPECT_EQ(world.Packs().size(), 1);
  EXPECT_EQ(world.Packs()[0].form, GetParam().form);
  world.ExpectAllIsThere();
  world.ExpectNothingElseIsThere();
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(0));
}

TEST_P(MoveContentsTest, UsesTheKeysWhileItReads) {
  ChunkWorld world(MakeMedium());
  StoreWhole(world, "file", RandomBytes(1, 200'000));
  const crypto::KeyRing& keys = world.master_key;
  int opened = 0;
  world.blobs->before_open = [&](const BlobId&) {
    ++opened;
    EXPECT_FALSE(keys.HaveEnded(keys.NextUse()));
  };
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(1));
  EXPECT_GT(opened, 0);
  EXPECT_TRUE(keys.HaveEnded(keys.NextUse()));
}

TEST_P(MoveContentsTest, DoesNotMoveWhatIsFoundDamagedMeanwhile) {
  ChunkWorld world(MakeMedium());
  StoreWhole(world, "file", RandomBytes(1, 200'000));
  const BlobId blob = world.BlobOf("file");
  const int64_t version_id = world.VersionOf("file").version_id;
  // When it was read.
  world.blobs->after_commit = [&] {
    EXPECT_OK(world.catalog->Run([&](storage::Transaction& transaction) {
      return transaction.MarkVersionDamaged(version_id, blob).status();
    }));
  };
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(0));
  EXPECT_TRUE(world.VersionOf("file").is_damaged);
  EXPECT_EQ(world.BlobOf("file"), blob);
}

TEST_P(MoveContentsTest, KeepsWhatIsKnownOfAVersion) {
  ChunkWorld world(MakeMedium());
  StoreWhole(world, "file", RandomBytes(1, 200'000));
  const storage::Version before = world.VersionOf("file");
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(1));
  const storage::Version after = world.VersionOf("file");
  EXPECT_EQ(after.version_id, before.version_id);
  EXPECT_EQ(after.checksum_kind, before.checksum_kind);
  EXPECT_EQ(after.checksum, before.checksum);
  EXPECT_EQ(after.encoded_size, before.encoded_size);
  EXPECT_EQ(after.sha256, before.sha256);
  EXPECT_EQ(after.receive_time, before.receive_time);
  EXPECT_EQ(after.form, before.form);
  // Its pack's footer says the same.
  const auto pack = world.blobs->Open(world.Packs()[0].blob_id);
  ASSERT_OK(pack);
  const auto footer = content::ReadPackFooter(**pack);
  ASSERT_OK(footer);
  ASSERT_EQ(footer->parts.size(), 1u);
  ASSERT_TRUE(footer->parts[0].version.has_value());
  EXPECT_EQ(footer->parts[0].version->version_id, before.version_id);
  EXPECT_EQ(footer->parts[0].version->checksum, before.checksum);
}

TEST_P(MoveContentsTest, RefersToWhatIsThere) {
  ChunkWorld world(MakeMedium());
  const std::string large = RandomBytes(1, 3'000'000);
  StoreWhole(world, "first", large);
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(1));
  StoreWhole(world, "second", large);
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(1));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Packs().size(), 1);
  EXPECT_EQ(world.BlobCount(), 1);
  world.ExpectAllIsThere();
}

TEST_P(MoveContentsTest, LeavesADamagedOneAsItIs) {
  ChunkWorld world(MakeMedium());
  StoreWhole(world, "good", RandomBytes(1, 200'000));
  StoreWhole(world, "bad", RandomBytes(2, 200'000));
  StoreWhole(world, "gone", RandomBytes(3, 200'000));
  const BlobId bad = world.BlobOf("bad");
  world.Damage(bad, 1000);
  ASSERT_OK(world.medium.blobs->Delete(world.BlobOf("gone")));
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(1));
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(0));
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.Count().unmoved_versions, 2);
  EXPECT_EQ(world.BlobOf("bad"), bad);
  EXPECT_OK(world.blobs->Open(bad));
  world.expected.erase("bad");
  world.expected.erase("gone");
  world.ExpectAllIsThere();
}

TEST_P(MoveContentsTest, TriesAgainWhatTheMediumDidNotTake) {
  ChunkWorld world(MakeMedium());
  StoreWhole(world, "file", RandomBytes(1, 200'000));
  world.blobs->put_error = MakeError(Reason::kStorageIo, "the medium is broken");
  EXPECT_EQ(ReasonOf(world.RunMove().status()), Reason::kStorageIo);
  world.blobs->put_error = absl::OkStatus();
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(1));
  world.ExpectAllIsThere();
}

TEST_P(MoveContentsTest, LeavesAVersionAloneThatIsDeletedMeanwhile) {
  ChunkWorld world(MakeMedium());
  StoreWhole(world, "file", RandomBytes(1, 200'000));
  world.blobs->before_open = [&](const BlobId&) {
    world.blobs->before_open = [](const BlobId&) {};
    world.Delete("file");
  };
  EXPECT_THAT(world.RunMove(), IsOkAndHolds(0));
  ASSERT_OK(world.RunRepack());
  ASSERT_OK(world.Sweep());
  EXPECT_EQ(world.BlobCount(), 0);
  EXPECT_EQ(world.Count().versions, 0);
}

TEST_P(MoveContentsTest, LosesNothingWhereverItIsKilled) {
  for (const Death::When when : {Death::When::kBefore, Death::When::kAfter}) {
    bool was_killed = true;
    for (int calls = 1; was_killed; ++calls) {
      ASSERT_LT(calls, 100);
      SCOPED_TRACE(absl::StrCat(calls, when == Death::When::kBefore ? " before" : " after"));
      ChunkWorld world(media_.MakeQuickly(GetParam().on));
      StoreWhole(world, "large", RandomBytes(1, 300'000));
      StoreWhole(world, "small", "content");
      StoreWhole(world, "same", RandomBytes(1, 300'000));
      StoreWhole(world, "equal", "content");
      world.death.After(calls, when);
      if (world.RunMove().ok()) world.Sweep().IgnoreError();
      was_killed = world.death.has_come();
      world.Restart();
      world.ExpectAllIsThere();
      ASSERT_OK(world.RunMove());
      ASSERT_OK(world.Sweep());
      ASSERT_OK(world.RunRepack());
      ASSERT_OK(world.Sweep());
      EXPECT_EQ(world.Count().unmoved_versions, 0);
      world.ExpectAllIsThere();
      world.ExpectNothingElseIsThere();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Everywhere, MoveContentsTest, AllPlaces());

}  // namespace
}  // namespace backup::jobs
