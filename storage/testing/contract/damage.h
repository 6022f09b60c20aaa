#pragma once

#include <string>
#include <vector>

#include "storage/testing/contract/recipes.h"

namespace backup::storage {

// What is not what was stored, and how it becomes right again.
class CatalogDamage : public CatalogRecipes {
 protected:
  bool IsDamaged(const Version& version) {
    return FindVersion(version.client_id, version.file_name, version.version_id, false)
        ->version.is_damaged;
  }
  storage::Content ContentOf(const Version& version) {
    return FindVersion(version.client_id, version.file_name, version.version_id)->content;
  }
  bool Mark(const Version& version, const storage::Content& content) {
    return Run([&](Transaction& transaction) {
             return transaction.MarkVersionDamaged(version.version_id, content);
           })
        .value();
  }
  bool MarkWhole(const Version& version, const storage::Content& content) {
    return Run([&](Transaction& transaction) {
             return transaction.MarkVersionWhole(version.version_id, content);
           })
        .value();
  }
  void MarkWhole(const StoredChunk& chunk) {
    ASSERT_OK(Run(
        [&](Transaction& transaction) { return transaction.MarkWhole(chunk.number, chunk.pack); }));
  }
  absl::StatusOr<bool> TryHeal(const Version& version, const NewChunks& content) {
    MakePending(content);
    const auto found = FindVersion(version.client_id, version.file_name, version.version_id);
    const storage::Content old = found.ok() ? found->content : storage::Content();
    return Run([&](Transaction& transaction) {
      return transaction.HealVersion(version.version_id, old, StorageForm::kSealed, content);
    });
  }
  int64_t Discard(int limit = 100) {
    return Run([&](Transaction& transaction) { return transaction.DiscardSetAside(limit); })
        .value();
  }
  // All ways of telling a version.
  void ExpectTold(const Version& version, bool is_damaged) {
    EXPECT_EQ(IsDamaged(version), is_damaged);
    const auto listed = ListVersions(version.client_id, version.file_name, 0, 100).value();
    for (const Version& told : listed)
      EXPECT_EQ(told.is_damaged, told.version_id == version.version_id && is_damaged);
    const auto scanned = Read([&](Snapshot& snapshot) {
                           return snapshot.ScanVersions(version.version_id - 1, 1);
                         }).value();
    ASSERT_EQ(scanned.size(), 1);
    EXPECT_EQ(scanned[0].version.is_damaged, is_damaged);
  }

  const BlobId blob_ = IdOf<BlobId>(100);
};

TEST_P(CatalogDamage, OfAChunkIsDamageOfAllVersionsThatHaveItUntilItIsStoredAgain) {
  AddThree();
  const Version one = AddChunks("one", Content({2}));
  const Version several = AddChunks("several", Content({1, 3, 2}));
  const Version other = AddChunks("other", Content({1, 3}));
  const Version small = AddChunks("small", Small(9, "payload"));
  EXPECT_EQ(Count().damaged_chunks, 0);
  MarkDamaged(ChunksOf(one).at(0));
  MarkDamaged(ChunksOf(small).at(0));
  EXPECT_EQ(Count().damaged_chunks, 2);
  EXPECT_EQ(Count().marked_versions, 0);
  for (const Version& version : {one, several, small}) ExpectTold(version, true);
  ExpectTold(other, false);
  EXPECT_EQ(StateOf(one), VersionState::kReceived);
  // What is verified now is damaged all the same.
  EXPECT_TRUE(Settle(client_, "several", Outcome::kVerified));
  EXPECT_TRUE(ListFiles(client_, "", 100)->at(2).newest_verified->is_damaged);
  // Whoever brings the bytes heals all who have them.
  const Version healer = AddChunks("healer", Content({2}, {Pack(20, {2})}));
  for (const Version& version : {one, several, healer}) ExpectTold(version, false);
  ExpectTold(small, true);
  EXPECT_EQ(StateOf(several), VersionState::kVerified);
  EXPECT_EQ(Count().damaged_chunks, 1);
  EXPECT_EQ(Count().healed_chunks, 1);
  AddChunks("healer", Small(9, "again"));
  ExpectTold(small, false);
  EXPECT_EQ(Count().healed_chunks, 2);
}

TEST_P(CatalogDamage, OfAChunkShowsInRecipesOfManyParts) {
  AddThree();
  const Version longer = AddLong("long", 700);
  const Version last = AddChunks("last", Content({2}));
  EXPECT_FALSE(IsDamaged(longer));
  MarkDamaged(ChunksOf(last).at(0));
  EXPECT_TRUE(IsDamaged(longer));
}

TEST_P(CatalogDamage, OfAChunkIsTakenBackIfItCanBeReadAfterAll) {
  AddThree();
  const Version version = AddChunks("file", Content({1, 2}));
  StoredChunk chunk = ChunksOf(version).at(1);
  MarkDamaged(chunk);
  EXPECT_FALSE(IsOffered(2));
  EXPECT_EQ(PackOf(10).live_bytes, 2 * kStoredSize);
  chunk.pack += 1000;
  MarkWhole(chunk);
  EXPECT_TRUE(IsDamaged(version));
  chunk.pack -= 1000;
  MarkWhole(chunk);
  MarkWhole(chunk);
  EXPECT_FALSE(IsDamaged(version));
  EXPECT_TRUE(IsOffered(2));
  EXPECT_EQ(Count().healed_chunks, 1);
  ExpectCounts(2, 1);
}

// So that what was healed or went meanwhile hides nothing that was found damaged.
TEST_P(CatalogDamage, OfChunksIsCountedAsOftenAsItIsFound) {
  AddThree();
  const auto epoch = [&] {
    return Read([](Snapshot& snapshot) { return snapshot.DamageEpoch(); }).value();
  };
  const Version one = AddChunks("one", Content({1}));
  const Version two = AddChunks("two", Content({2}));
  EXPECT_EQ(epoch(), 0);
  MarkDamaged(ChunksOf(one).at(0));
  EXPECT_EQ(epoch(), 1);
  MarkDamaged(ChunksOf(one).at(0));
  EXPECT_EQ(epoch(), 1) << "it was known";
  StoredChunk elsewhere = ChunksOf(two).at(0);
  elsewhere.pack += 1000;
  MarkDamaged(elsewhere);
  EXPECT_EQ(epoch(), 1) << "it is not there any more";
  MarkDamaged(ChunksOf(two).at(0));
  EXPECT_EQ(epoch(), 2);
  MarkWhole(ChunksOf(one).at(0));
  EXPECT_EQ(epoch(), 2);
  MarkDamaged(ChunksOf(one).at(0));
  Delete(one);
  Delete(two);
  EXPECT_EQ(Count().damaged_chunks, 0);
  EXPECT_EQ(epoch(), 3);
}

TEST_P(CatalogDamage, OfAChunkThatNothingRefersToIsNobodysDamage) {
  AddThree();
  const Version version = AddChunks("file", Content({1}));
  const StoredChunk chunk = ChunksOf(version).at(0);
  MarkDamaged(chunk);
  Delete(version);
  EXPECT_EQ(Count().damaged_chunks, 0);
  EXPECT_EQ(Count().healed_chunks, 0);
}

TEST_P(CatalogDamage, OfAVersionIsMarkedOnlyOfTheContentThatItHas) {
  const Version version = Add(client_, "file", Blob(blob_));
  EXPECT_FALSE(Mark(version, IdOf<BlobId>(101)));
  EXPECT_FALSE(Mark(version, ChunkList{1, 0}));
  EXPECT_FALSE(Mark(version, storage::Content()));
  ExpectTold(version, false);
  EXPECT_EQ(Count().set_aside_blobs, 0);
  EXPECT_TRUE(Mark(version, blob_));
  EXPECT_FALSE(Mark(version, blob_));
  ExpectTold(version, true);
  EXPECT_EQ(Count().marked_versions, 1);
  EXPECT_EQ(Count().set_aside_blobs, 1);
  EXPECT_EQ(UseOf(blob_), BlobUse::kReferenced);
}

TEST_P(CatalogDamage, OfAVersionWhoseContentIsInTheCatalogIsMarked) {
  const Version version = Add(client_, "file");
  EXPECT_TRUE(Mark(version, std::string("bytes")));
  ExpectTold(version, true);
  EXPECT_EQ(Count().set_aside_blobs, 0);
  const Version chunks = AddChunks("chunks", Small(1, "payload"));
  EXPECT_TRUE(Mark(chunks, ContentOf(chunks)));
  ExpectTold(chunks, true);
  EXPECT_EQ(Count().marked_versions, 2);
}

TEST_P(CatalogDamage, OfAVersionIsTakenBackIfItCanBeReadAfterAll) {
  const Version version = Add(client_, "file", Blob(blob_));
  EXPECT_FALSE(MarkWhole(version, blob_));
  EXPECT_TRUE(Mark(version, blob_));
  EXPECT_FALSE(MarkWhole(version, IdOf<BlobId>(101)));
  EXPECT_TRUE(MarkWhole(version, blob_));
  EXPECT_FALSE(IsDamaged(version));
  EXPECT_EQ(Count().healed_versions, 1);
  EXPECT_EQ(Count().set_aside_blobs, 0);
  Delete(version);
  EXPECT_EQ(UseOf(blob_), BlobUse::kDropped);
}

TEST_P(CatalogDamage, IsHealedByContentInItsPlaceAndTheOldBlobIsSetAside) {
  const Version version = Add(client_, "file", Blob(blob_));
  EXPECT_TRUE(Settle(client_, "file", Outcome::kVerified));
  EXPECT_TRUE(Mark(version, blob_));
  EXPECT_THAT(TryHeal(version, Content({1, 2}, {Pack(10, {1, 2})})), IsOkAndHolds(true));
  EXPECT_FALSE(IsDamaged(version));
  EXPECT_EQ(StateOf(version), VersionState::kVerified);
  EXPECT_EQ(ChunksOf(version).size(), 2);
  EXPECT_EQ(FindVersion(client_, "file", 0)->version.form, StorageForm::kSealed);
  EXPECT_EQ(UseOf(blob_), BlobUse::kSetAside);
  EXPECT_EQ(Count().set_aside_blobs, 1);
  EXPECT_EQ(Count().marked_versions, 0);
  EXPECT_EQ(Count().healed_versions, 1);
  EXPECT_EQ(Count().dropped_blobs, 0);
  EXPECT_EQ(Count().blob_bytes, 0);
  EXPECT_EQ(KeptBytes(), 2 * kStoredSize);
  ExpectCounts(2, 1);
}

TEST_P(CatalogDamage, ThatIsNoMoreIsNotHealedAndWhatWasBroughtIsDropped) {
  const Version version = Add(client_, "file", Blob(blob_));
  EXPECT_THAT(TryHeal(version, Content({1}, {Pack(10, {1})})), IsOkAndHolds(false));
  EXPECT_EQ(UseOfPack(10), BlobUse::kDropped);
  EXPECT_EQ(storage::Content(blob_), ContentOf(version));
  EXPECT_TRUE(Mark(version, blob_));
  Delete(version);
  EXPECT_THAT(TryHeal(version, Content({1}, {Pack(11, {1})})), IsOkAndHolds(false));
  EXPECT_EQ(UseOfPack(11), BlobUse::kDropped);
  EXPECT_EQ(Count().healed_versions, 0);
}

TEST_P(CatalogDamage, OfChunksIsHealedByTheSameChunksStoredAgain) {
  const Version one = AddChunks("one", Content({1}, {Pack(10, {1, 2, 3})}));
  const Version several = AddChunks("several", Content({1, 2, 3}));
  MarkDamaged(ChunksOf(one).at(0));
  EXPECT_THAT(TryHeal(one, Content({1}, {Pack(20, {1})})), IsOkAndHolds(true));
  ExpectTold(one, false);
  ExpectTold(several, false);
  // No reference is lost or left over.
  EXPECT_EQ(ChunksOf(one).at(0).refs, 2);
  MarkDamaged(ChunksOf(several).at(2));
  EXPECT_THAT(TryHeal(several, Content({1, 2, 3}, {Pack(21, {3})})), IsOkAndHolds(true));
  Release();
  EXPECT_EQ(ChunksOf(several).at(0).refs, 2);
  EXPECT_EQ(ChunksOf(several).at(2).refs, 1);
  EXPECT_EQ(Count().healed_chunks, 2);
  EXPECT_EQ(Count().healed_versions, 0);
  EXPECT_EQ(Count().unmoved_versions, 0);
  ExpectCounts(3, 3);
  EXPECT_THAT(TryHeal(one, Content({1})), IsOkAndHolds(false));
}

TEST_P(CatalogDamage, IsNotHealedOnceItHasOtherContent) {
  const Version version = AddChunks("file", Content({1, 2}, {Pack(10, {1, 2})}));
  const storage::Content old = ContentOf(version);
  MarkDamaged(ChunksOf(version).at(0));
  EXPECT_THAT(TryHeal(version, Content({1, 2}, {Pack(20, {1})})), IsOkAndHolds(true));
  const storage::Content healed = ContentOf(version);
  const NewChunks late = Content({1, 2}, {Pack(21, {1})});
  MakePending(late);
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.HealVersion(version.version_id, old, StorageForm::kPlain, late);
              }),
              IsOkAndHolds(false));
  EXPECT_EQ(ContentOf(version), healed);
  EXPECT_EQ(UseOfPack(21), BlobUse::kDropped);
}

TEST_P(CatalogDamage, IsNotHealedByWhatIsGone) {
  const Version version = Add(client_, "file", Blob(blob_));
  EXPECT_TRUE(Mark(version, blob_));
  EXPECT_THAT(TryHeal(version, Content({1})), HasReason(Reason::kBackendDown));
  ExpectTold(version, true);
  EXPECT_EQ(UseOf(blob_), BlobUse::kReferenced);
}

TEST_P(CatalogDamage, KeepsItsBlobWhateverBecomesOfTheVersion) {
  for (const Outcome outcome : {Outcome::kRetrying, Outcome::kAbandoned}) {
    const BlobId blob = IdOf<BlobId>(static_cast<uint8_t>(50 + static_cast<int>(outcome)));
    const Version version = Add(client_, "file", Blob(blob));
    EXPECT_TRUE(Mark(version, blob));
    EXPECT_TRUE(Settle(client_, "file", outcome));
    EXPECT_EQ(UseOf(blob), BlobUse::kSetAside);
  }
  const Version version = Add(client_, "other", Blob(blob_));
  EXPECT_TRUE(Mark(version, blob_));
  Delete(version);
  EXPECT_OK(Run([&](Transaction& transaction) { return transaction.DropPendingBlob(blob_); }));
  EXPECT_EQ(UseOf(blob_), BlobUse::kSetAside);
  EXPECT_EQ(Count().marked_versions, 0);
  EXPECT_EQ(Count().dropped_blobs, 0);
  EXPECT_EQ(Count().set_aside_blobs, 3);
}

TEST_P(CatalogDamage, GivesUpBlobsThatWereSetAsideOnlyIfAskedAndNotNeeded) {
  const Version gone = Add(client_, "gone", Blob(blob_));
  const Version kept = Add(client_, "kept", Blob(IdOf<BlobId>(101)));
  EXPECT_TRUE(Mark(gone, blob_));
  EXPECT_TRUE(Mark(kept, IdOf<BlobId>(101)));
  Delete(gone);
  EXPECT_EQ(Discard(0), 0);
  EXPECT_EQ(Discard(1), 1);
  EXPECT_EQ(Discard(), 0);
  EXPECT_EQ(UseOf(blob_), BlobUse::kDropped);
  EXPECT_EQ(UseOf(IdOf<BlobId>(101)), BlobUse::kReferenced);
  EXPECT_TRUE(IsDamaged(kept));
}

TEST_P(CatalogDamage, DoesNotEndBecauseSomebodyCopiesWhatIsDamaged) {
  const storage::Content bytes = std::string("bytes");
  const Version version = Add(client_, "file");
  EXPECT_TRUE(Mark(version, bytes));
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.ReplaceContent(version.version_id, bytes, Small(1, "payload"));
              }),
              IsOkAndHolds(false));
  ExpectTold(version, true);
  EXPECT_EQ(Count().marked_versions, 1);
}

TEST_P(CatalogDamage, IsNotThatOfWhatTookThePlaceOfWhatWasRead) {
  const storage::Content bytes = std::string("bytes");
  const Version version = Add(client_, "file");
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.ReplaceContent(version.version_id, bytes, std::string("anew"));
              }),
              IsOkAndHolds(true));
  EXPECT_FALSE(Mark(version, bytes));
  ExpectTold(version, false);
}

TEST_P(CatalogDamage, IsUndoneWithItsTransaction) {
  const Version version = Add(client_, "file", Blob(blob_));
  EXPECT_THAT(Run([&](Transaction& transaction) -> absl::Status {
                RETURN_IF_ERROR(transaction.MarkVersionDamaged(version.version_id, blob_).status());
                return absl::AbortedError("on purpose");
              }),
              testing::StatusIs(absl::StatusCode::kAborted));
  ExpectTold(version, false);
  EXPECT_EQ(Count().set_aside_blobs, 0);
}

}  // namespace backup::storage
