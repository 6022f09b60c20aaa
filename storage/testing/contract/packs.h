#pragma once

#include <limits>
#include <string>
#include <vector>

#include "storage/testing/contract/chunks.h"

namespace backup::storage {

// What becomes of packs.
class CatalogPacks : public CatalogChunks {
 protected:
  int64_t Condemn(const std::vector<uint8_t>& blobs) {
    const std::vector<int64_t> packs = Numbers(blobs);
    return Run([&](Transaction& transaction) { return transaction.CondemnPacks(packs); }).value();
  }
  absl::StatusOr<int64_t> TryRewrite(const std::vector<int64_t>& sources,
                                     const std::vector<NewPack>& packs) {
    return Run([&](Transaction& transaction) { return transaction.RewritePacks(sources, packs); });
  }
  int64_t Rewrite(const std::vector<uint8_t>& sources, const std::vector<NewPack>& packs) {
    MakePending(Content({}, packs));
    return TryRewrite(Numbers(sources), packs).value();
  }
  std::vector<int64_t> Numbers(const std::vector<uint8_t>& blobs) {
    std::vector<int64_t> packs;
    for (const uint8_t blob : blobs) packs.push_back(PackOf(blob).pack);
    return packs;
  }
  // The first bytes of the blobs' ids.
  std::vector<int> ToRewrite(int64_t small_bytes = 0, int limit = 100) {
    std::vector<int> blobs;
    const auto packs =
        Read([&](Snapshot& snapshot) { return snapshot.ListPacksToRewrite(small_bytes, limit); });
    for (const PackInfo& pack : packs.value())
      blobs.push_back(static_cast<unsigned char>(pack.blob_id.bytes()[0]));
    return blobs;
  }
  int64_t Epoch() {
    return Read([](Snapshot& snapshot) { return snapshot.Epoch(); }).value();
  }
  int64_t OldestEpoch() {
    return Read([](Snapshot& snapshot) { return snapshot.OldestEpoch(); }).value();
  }
};

TEST_P(CatalogPacks, AreListedPageByPage) {
  for (const uint8_t blob : {10, 11, 12})
    AddChunks("file", Content({blob}, {Pack(blob, {blob, static_cast<uint8_t>(blob + 100)})}));
  const std::vector<PackInfo> all = Packs();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].blob_id, IdOf<BlobId>(10));
  EXPECT_EQ(all[0].size_bytes, 2 * kStoredSize + kFooterSize);
  EXPECT_EQ(all[0].footer_bytes, kFooterSize);
  EXPECT_EQ(all[0].live_bytes, kStoredSize);
  EXPECT_EQ(all[0].form, StorageForm::kSealed);
  EXPECT_EQ(all[0].wrapped_key, Pack(10, {}).wrapped_key);
  EXPECT_EQ(all[0].condemned_epoch, 0);
  EXPECT_EQ(all[0].chunk_count, 0);
  EXPECT_EQ(Packs(0, 2).size(), 2u);
  ASSERT_EQ(Packs(all[1].pack, 2).size(), 1u);
  EXPECT_EQ(Packs(all[1].pack, 2)[0].pack, all[2].pack);
}

TEST_P(CatalogPacks, AreFoundByTheirNumberWithTheCountOfTheirChunks) {
  AddChunks("a", Content({1}, {Pack(10, {1, 2, 3})}));
  AddChunks("b", Content({4}, {Pack(11, {4})}));
  const auto find = [&](int64_t number) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindPack(number); }).value();
  };
  const std::optional<PackInfo> found = find(PackOf(10).pack);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pack, PackOf(10).pack);
  EXPECT_EQ(found->blob_id, IdOf<BlobId>(10));
  EXPECT_EQ(found->live_bytes, kStoredSize);
  EXPECT_EQ(found->footer_bytes, kFooterSize);
  EXPECT_EQ(found->wrapped_key, Pack(10, {}).wrapped_key);
  EXPECT_EQ(found->chunk_count, 3);
  EXPECT_EQ(find(PackOf(11).pack)->chunk_count, 1);
  EXPECT_FALSE(find(PackOf(11).pack + 1));
}

TEST_P(CatalogPacks, ListTheirChunksPageByPageWhateverTheirState) {
  AddChunks("file", Content({1, 2, 3}, {Pack(10, {1, 2, 3, 4})}));
  MarkDamaged(*Find(2));
  Condemn({10});
  const auto list = [&](int after, int limit) {
    return Read([&](Snapshot& snapshot) {
             return snapshot.ListPackChunks(PackOf(10).pack, after, limit);
           })
        .value();
  };
  const std::vector<StoredChunk> all = list(-1, 10);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].ref, Ref(1));
  EXPECT_EQ(all[0].index, 0);
  EXPECT_TRUE(all[1].is_damaged);
  EXPECT_FALSE(all[2].is_condemned);
  EXPECT_EQ(all[3].refs, 0);
  EXPECT_TRUE(all[3].is_condemned);
  ASSERT_EQ(list(0, 2).size(), 2u);
  EXPECT_EQ(list(0, 2)[0].index, 1);
  EXPECT_TRUE(list(3, 2).empty());
}

TEST_P(CatalogPacks, AreReferencedBlobs) {
  AddChunks("file", Content({1}, {Pack(10, {1})}));
  ASSERT_OK(
      Run([](Transaction& transaction) { return transaction.DropPendingBlob(IdOf<BlobId>(10)); }));
  EXPECT_EQ(UseOfPack(10), BlobUse::kReferenced);
  EXPECT_EQ(Count().blob_bytes, 0);
}

// Condemning.

TEST_P(CatalogPacks, ThatAreCondemnedDoNotOfferWhatNobodyRefersTo) {
  AddChunks("file", Content({1}, {Pack(10, {1, 2, 3})}));
  EXPECT_EQ(Epoch(), 0);
  EXPECT_EQ(Condemn({10}), 1);
  EXPECT_EQ(Epoch(), 1);
  EXPECT_EQ(PackOf(10).condemned_epoch, 1);
  EXPECT_TRUE(IsOffered(1));
  EXPECT_FALSE(IsOffered(2));
  // An upload that found it before may refer to it all the same, and saves it.
  AddChunks("under way", Content({2}));
  EXPECT_TRUE(IsOffered(2));
  // One that did not find it brings it, and it is in the new pack from now on.
  AddChunks("new", Content({3}, {Pack(11, {3})}));
  EXPECT_EQ(Find(3)->pack_blob, IdOf<BlobId>(11));
  ExpectCounts(3, 2);
  EXPECT_EQ(Condemn({}), 2);
  EXPECT_EQ(PackOf(10).condemned_epoch, 1);
}

TEST_P(CatalogPacks, KnowTheOldestEpochOfAllOwners) {
  const auto publish = [&](uint8_t owner, absl::Time end, int64_t epoch) {
    EXPECT_OK(Run([&](Transaction& transaction) {
      return transaction.PublishEpoch({IdOf<OwnerId>(owner), end}, epoch);
    }));
  };
  const auto drop = [&](absl::Time ended_before) {
    return Run([&](Transaction& transaction) {
             return transaction.DropPendingBlobsOfOthers(IdOf<OwnerId>(1), ended_before, 10);
           })
        .value();
  };
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(OldestEpoch(), kNone);
  publish(1, At(1), 5);
  publish(2, At(10), 3);
  publish(3, At(10), 4);
  EXPECT_EQ(OldestEpoch(), 3);
  publish(2, At(10), 6);
  EXPECT_EQ(OldestEpoch(), 4);
  ASSERT_OK(Run([](Transaction& transaction) {
    return transaction.RenewLeases({IdOf<OwnerId>(3), At(20)});
  }));
  EXPECT_EQ(drop(At(15)), 0);
  EXPECT_EQ(OldestEpoch(), 4);
  EXPECT_EQ(drop(At(21)), 0);
  EXPECT_EQ(OldestEpoch(), 5) << "one's own stays";
}

// Rewriting.

TEST_P(CatalogPacks, AreRewrittenAndGo) {
  const Version version = AddChunks("file", Content({1, 3}, {Pack(10, {1, 2}), Pack(11, {3, 4})}));
  const std::vector<StoredChunk> before = ChunksOf(version);
  Condemn({10, 11});
  EXPECT_EQ(Rewrite({10, 11}, {Pack(12, {3, 1})}), 2);
  EXPECT_EQ(UseOfPack(10), BlobUse::kDropped);
  EXPECT_EQ(UseOfPack(11), BlobUse::kDropped);
  EXPECT_EQ(UseOfPack(12), BlobUse::kReferenced);
  const std::vector<StoredChunk> after = ChunksOf(version);
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0].number, before[0].number);
  EXPECT_EQ(after[0].pack_blob, IdOf<BlobId>(12));
  EXPECT_EQ(after[0].index, 1);
  EXPECT_EQ(after[0].offset, kStoredSize);
  EXPECT_EQ(after[0].wrapped_key, Pack(12, {}).wrapped_key);
  EXPECT_EQ(after[1].index, 0);
  EXPECT_THAT(TryAdd("late", Content({2})), HasReason(Reason::kBackendDown));
  EXPECT_EQ(KeptBytes(), 4 * kStoredSize);
  ExpectCounts(2, 1);
}

TEST_P(CatalogPacks, KeepWhatWasNotTakenAlongAndIsNeeded) {
  const Version version = AddChunks("file", Content({1, 2}, {Pack(10, {1, 2, 3})}));
  Condemn({10});
  EXPECT_EQ(Rewrite({10}, {Pack(11, {1})}), 0);
  EXPECT_EQ(ChunksOf(version).at(0).pack_blob, IdOf<BlobId>(11));
  EXPECT_EQ(ChunksOf(version).at(1).pack_blob, IdOf<BlobId>(10));
  EXPECT_EQ(PackOf(10).live_bytes, kStoredSize);
  EXPECT_FALSE(IsOffered(3));
  ExpectCounts(2, 2);
}

TEST_P(CatalogPacks, ThatAreNotCondemnedLoseNothing) {
  const Version version = AddChunks("file", Content({1}, {Pack(10, {1, 2}, /*waits=*/true)}));
  EXPECT_EQ(Count().waiting_bytes, kStoredSize);
  EXPECT_EQ(Rewrite({10}, {Pack(11, {1})}), 0);
  EXPECT_EQ(Count().waiting_bytes, 0);
  EXPECT_EQ(ChunksOf(version).at(0).coding, ChunkCoding::kZstd);
  EXPECT_TRUE(IsOffered(2));
  EXPECT_EQ(Rewrite({10}, {Pack(12, {2})}), 1);
  EXPECT_EQ(Find(2)->refs, 0);
  ExpectCounts(1, 2);
}

TEST_P(CatalogPacks, KeepForAnotherTimeWhatLostItsReferenceSinceTheyWereCondemned) {
  const Version version = AddChunks("file", Content({1}, {Pack(10, {1, 2})}));
  Condemn({10});
  Delete(version);
  EXPECT_TRUE(IsOffered(1)) << "it was needed when the pack was condemned";
  EXPECT_EQ(Rewrite({10}, {}), 0);
  EXPECT_EQ(PackOf(10).condemned_epoch, 2);
  EXPECT_FALSE(IsOffered(1));
  // The upload that found it.
  Delete(AddChunks("under way", Content({1})));
  EXPECT_EQ(Rewrite({10}, {}), 0);
  EXPECT_EQ(PackOf(10).condemned_epoch, 3);
  EXPECT_EQ(Rewrite({10}, {}), 1);
  EXPECT_EQ(UseOfPack(10), BlobUse::kDropped);
  ExpectCounts(0, 0);
}

TEST_P(CatalogPacks, OnlyTakeTheirPlaceForWhatIsStillInTheSources) {
  AddChunks("file", Content({1, 2}, {Pack(10, {1}), Pack(11, {2})}));
  Condemn({10, 11});
  EXPECT_EQ(Rewrite({10}, {Pack(12, {1, 2, 3})}), 1);
  EXPECT_EQ(Find(2)->pack_blob, IdOf<BlobId>(11));
  EXPECT_FALSE(IsOffered(3));
  const std::vector<int64_t> gone = {PackOf(12).pack + 100};
  ASSERT_OK(AddPending(IdOf<BlobId>(13)));
  EXPECT_THAT(TryRewrite(gone, {Pack(13, {1, 2})}), IsOkAndHolds(0));
  EXPECT_EQ(UseOfPack(13), BlobUse::kDropped);
  ExpectCounts(2, 2);
}

TEST_P(CatalogPacks, AreOnlyRewrittenIntoPacksThatArePending) {
  AddChunks("file", Content({1, 2}, {Pack(10, {1, 2})}));
  Condemn({10});
  ASSERT_OK(AddPending(IdOf<BlobId>(11)));
  const std::vector<int64_t> source = Numbers({10});
  ASSERT_OK(Run([&](Transaction& transaction) -> absl::Status {
    EXPECT_THAT(transaction.RewritePacks(source, {Pack(11, {1}), Pack(12, {2})}),
                HasReason(Reason::kBackendDown));
    return absl::OkStatus();
  }));
  EXPECT_EQ(Find(1)->pack_blob, IdOf<BlobId>(10));
  EXPECT_EQ(UseOfPack(11), BlobUse::kPending);
}

TEST_P(CatalogPacks, ThatWereDamagedAreHealedByWhatCouldBeRead) {
  const Version version = AddChunks("file", Content({1}, {Pack(10, {1})}));
  MarkDamaged(*Find(1));
  EXPECT_EQ(Rewrite({10}, {Pack(11, {1})}), 1);
  EXPECT_FALSE(ChunksOf(version).at(0).is_damaged);
  EXPECT_TRUE(IsOffered(1));
}

// Which of them to rewrite.

TEST_P(CatalogPacks, AreWorthARewriteIfTheyWasteWaitAreSmallOrCondemned) {
  using ::testing::ElementsAre;
  using ::testing::IsEmpty;
  using ::testing::UnorderedElementsAre;
  AddChunks("whole", Content({1, 2}, {Pack(10, {1, 2})}));
  AddChunks("waits", Content({3, 4, 5}, {Pack(11, {3, 4, 5}, /*waits=*/true)}));
  const Version two_thirds = AddChunks("most", Content({6, 7, 8}, {Pack(12, {6, 7, 8, 9})}));
  EXPECT_THAT(ToRewrite(), ElementsAre(11));
  EXPECT_THAT(ToRewrite(2 * kStoredSize + kFooterSize), ElementsAre(11));
  EXPECT_THAT(ToRewrite(2 * kStoredSize + kFooterSize + 1), UnorderedElementsAre(10, 11));
  EXPECT_THAT(ToRewrite(int64_t{1} << 30, 2).size(), 2u);
  EXPECT_EQ(Rewrite({11}, {Pack(13, {3, 4, 5})}), 1);
  EXPECT_THAT(ToRewrite(), IsEmpty());
  Delete(two_thirds);
  AddChunks("less", Content({6, 7}));
  EXPECT_THAT(ToRewrite(), IsEmpty()) << "the recipe was not released";
  Release();
  EXPECT_THAT(ToRewrite(), ElementsAre(12));
  Condemn({10});
  EXPECT_THAT(ToRewrite(), ElementsAre(10, 12));
  EXPECT_THAT(ToRewrite(0, 1), ElementsAre(10));
  // Nothing makes it better while somebody needs what cannot be read.
  MarkDamaged(*Find(6));
  EXPECT_THAT(ToRewrite(int64_t{1} << 30), UnorderedElementsAre(10, 13));
  AddChunks("healed", Content({6}, {Pack(14, {6})}));
  EXPECT_THAT(ToRewrite(), ElementsAre(10, 12));
}

TEST_P(CatalogPacks, AreNotWorthARewriteForTheirFooterAlone) {
  NewPack pack = Pack(10, {1});
  pack.chunks[0].stored_size = 10;
  pack.size_bytes = 10 + Snapshot::kSmallWaste;
  const Version version = AddChunks("file", Content({1}, {pack}));
  EXPECT_THAT(ToRewrite(), ::testing::IsEmpty());
  Delete(version);
  EXPECT_THAT(ToRewrite(), ::testing::ElementsAre(10));
  NewPack larger = Pack(11, {2});
  larger.chunks[0].stored_size = 10;
  larger.size_bytes = 11 + Snapshot::kSmallWaste;
  larger.footer_bytes = 0;
  AddChunks("file", Content({2}, {larger}));
  EXPECT_THAT(ToRewrite(), ::testing::UnorderedElementsAre(10, 11));
  NewPack telling = Pack(12, {3});
  telling.footer_bytes = int64_t{1} << 20;
  telling.size_bytes = kStoredSize + telling.footer_bytes;
  AddChunks("file", Content({3}, {telling}));
  EXPECT_THAT(ToRewrite(), ::testing::UnorderedElementsAre(10, 11));
  // However small the rest is: many would keep others from being listed.
  NewPack less = Pack(13, {4});
  less.footer_bytes = Snapshot::kLargeFooter - 1;
  less.size_bytes = kStoredSize + less.footer_bytes;
  AddChunks("file", Content({4}, {less}));
  EXPECT_THAT(ToRewrite(int64_t{1} << 30), ::testing::UnorderedElementsAre(10, 11, 13));
}

}  // namespace backup::storage
