#pragma once

#include <string>
#include <vector>

#include "storage/testing/contract/chunks.h"

namespace backup::storage {

// Recipes, short ones and those that come in parts.
class CatalogRecipes : public CatalogChunks {
 protected:
  absl::StatusOr<int64_t> TryAppend(const NewChunks& part, const OwnerId& owner = IdOf<OwnerId>(1),
                                    absl::Time lease_end = At(600)) {
    MakePending(part);
    return Run([&](Transaction& transaction) {
      return transaction.AppendRecipe(part, {owner, lease_end});
    });
  }
  int64_t Append(int64_t recipe, NewChunks part) {
    part.recipe_id = recipe;
    return TryAppend(part).value();
  }
  void DropRecipe(int64_t recipe) {
    ASSERT_OK(Run([&](Transaction& transaction) { return transaction.DropPendingRecipe(recipe); }));
  }
  static NewChunks Rest(int64_t recipe, NewChunks rest = {}) {
    rest.recipe_id = recipe;
    return rest;
  }
  // Steps of chunks 1, 2, 3, 1, 2, ... that are there.
  static NewChunks Steps(int64_t first, int64_t count) {
    NewChunks content;
    for (int64_t i = first; i < first + count; ++i)
      content.recipe.push_back(Ref(static_cast<uint8_t>(1 + i % 3)));
    return content;
  }
  // A version of so many such steps, put down part by part.
  Version AddLong(const std::string& file_name, int64_t count) {
    constexpr auto kMost = static_cast<int64_t>(Transaction::kMaxRecipePart);
    int64_t recipe = 0;
    int64_t first = 0;
    for (; count - first > kMost; first += kMost) recipe = Append(recipe, Steps(first, kMost));
    return AddChunks(file_name, Rest(recipe, Steps(first, count - first)));
  }
  // Chunks 1, 2 and 3 without a reference.
  void AddThree() { Delete(AddChunks("three", Content({1}, {Pack(10, {1, 2, 3})}))); }
};

TEST_P(CatalogRecipes, ListTheirChunksInOrder) {
  AddThree();
  const Version version = AddChunks("file", Content({2, 1, 2, 3, 2}));
  const std::vector<StoredChunk> chunks = ChunksOf(version);
  ASSERT_EQ(chunks.size(), 5u);
  const std::vector<ChunkRef> expected = Refs({2, 1, 2, 3, 2});
  for (size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].ref, expected[i]);
    EXPECT_EQ(chunks[i].offset_in_content, static_cast<int64_t>(i) * kChunkSize);
  }
  EXPECT_EQ(chunks[0].number, chunks[2].number);
  EXPECT_EQ(Find(2)->refs, 3);
  ExpectCounts(3, 1);
}

TEST_P(CatalogRecipes, BeginAtTheChunkThatHoldsTheOffset) {
  AddThree();
  constexpr int64_t kSteps = 1000;
  const Version large = AddLong("large", kSteps);
  const Version small = AddChunks("small", Content({1}));
  const auto first = [&](const Version& version, int64_t offset) -> int64_t {
    const std::vector<StoredChunk> chunks = ListChunks(ListOf(version), offset, 3).value();
    if (chunks.empty()) return -1;
    EXPECT_LE(chunks.size(), 3u);
    EXPECT_LE(chunks[0].offset_in_content, offset);
    EXPECT_GT(chunks[0].offset_in_content + chunks[0].ref.size_bytes, offset);
    for (size_t i = 1; i < chunks.size(); ++i)
      EXPECT_EQ(chunks[i].offset_in_content, chunks[i - 1].offset_in_content + kChunkSize);
    return chunks[0].offset_in_content / kChunkSize;
  };
  for (const int64_t step : {0, 1, 79, 80, 81, 255, 256, 500, 998, 999}) {
    EXPECT_EQ(first(large, step * kChunkSize), step);
    EXPECT_EQ(first(large, (step + 1) * kChunkSize - 1), step);
  }
  EXPECT_EQ(first(large, kSteps * kChunkSize), -1);
  EXPECT_EQ(first(large, kSteps * kChunkSize + 1), -1);
  EXPECT_EQ(first(small, 0), 0);
  EXPECT_EQ(first(small, kChunkSize - 1), 0);
  EXPECT_EQ(first(small, kChunkSize), -1);
  EXPECT_EQ(ListChunks(ListOf(large), 0, 2000)->size(), static_cast<size_t>(kSteps));
}

TEST_P(CatalogRecipes, ComeInParts) {
  const int64_t recipe = Append(0, Content({1, 2}, {Pack(10, {1, 2})}));
  EXPECT_EQ(Append(recipe, Content({2, 3}, {Pack(11, {3, 4})})), recipe);
  EXPECT_EQ(Append(recipe, Steps(0, static_cast<int64_t>(Transaction::kMaxRecipePart))), recipe);
  ExpectCounts(3, 2);
  EXPECT_EQ(KeptBytes(), 0);
  const Version version = AddChunks("file", Rest(recipe, Content({4, 5}, {Pack(12, {5})})));
  EXPECT_EQ(KeptBytes(), 5 * kStoredSize);
  EXPECT_EQ(ListOf(version), (ChunkList{0, recipe}));
  const std::vector<StoredChunk> chunks = ListChunks(ListOf(version), 0, 10'000).value();
  ASSERT_EQ(chunks.size(), 6 + Transaction::kMaxRecipePart);
  EXPECT_EQ(chunks[3].ref, Ref(3));
  EXPECT_EQ(chunks.back().ref, Ref(5));
  EXPECT_EQ(chunks.back().offset_in_content, std::ssize(chunks) * kChunkSize - kChunkSize);
  DropRecipe(recipe);
  EXPECT_EQ(Count().dropped_recipes, 0) << "a version refers to it";
  // And to none but one version.
  EXPECT_THAT(TryAdd("other", Rest(recipe)), HasReason(Reason::kBackendDown));
}

TEST_P(CatalogRecipes, MayHaveComeWithAllTheirSteps) {
  const int64_t recipe = Append(0, Content({1, 2}, {Pack(10, {1, 2})}));
  const Version version = AddChunks("file", Rest(recipe));
  EXPECT_EQ(ChunksOf(version).size(), 2u);
  EXPECT_EQ(KeptBytes(), 2 * kStoredSize);
}

TEST_P(CatalogRecipes, WhoseUploadFailedAreDroppedAndReleased) {
  const int64_t recipe = Append(0, Content({1, 2}, {Pack(10, {1, 2})}));
  DropRecipe(recipe);
  EXPECT_EQ(Count().dropped_recipes, 1);
  DropRecipe(recipe);
  EXPECT_EQ(Count().dropped_recipes, 1);
  EXPECT_THAT(TryAppend(Rest(recipe, Content({1}))), HasReason(Reason::kBackendDown));
  EXPECT_THAT(TryAdd("file", Rest(recipe)), HasReason(Reason::kBackendDown));
  ExpectCounts(2, 1);
  EXPECT_EQ(Release(), 2);
  EXPECT_EQ(Release(), 0);
  EXPECT_EQ(Count().dropped_recipes, 0);
  ExpectCounts(0, 1);
  DropRecipe(0);
  DropRecipe(12345);
  EXPECT_EQ(Count().dropped_recipes, 0);
}

TEST_P(CatalogRecipes, AreReleasedAFewStepsAtATime) {
  AddThree();
  constexpr int64_t kSteps = 1000;
  Delete(AddLong("large", kSteps));
  Delete(AddChunks("small", Content({1, 2})));
  EXPECT_EQ(Count().dropped_recipes, 2);
  int64_t released = 0;
  int calls = 0;
  while (const int64_t some = Release(100)) {
    EXPECT_LE(some, 300);
    released += some;
    ++calls;
  }
  EXPECT_EQ(released, kSteps + 2);
  EXPECT_GE(calls, 4);
  EXPECT_EQ(Count().dropped_recipes, 0);
  EXPECT_EQ(Find(1)->refs, 0);
  ExpectCounts(0, 1);
}

TEST_P(CatalogRecipes, ReferToTheSameChunksAsSmallFiles) {
  const Version small = AddChunks("small", Small(1, "payload"));
  const Version large = AddChunks("large", Content({1, 2}, {Pack(10, {1, 2})}));
  EXPECT_EQ(ChunksOf(large).at(0).payload, "payload");
  Delete(small);
  EXPECT_EQ(ChunksOf(large).at(0).payload, "payload");
  Delete(large);
  EXPECT_EQ(Release(), 2);
  ExpectCounts(0, 1);
  EXPECT_EQ(Count().compressed_bytes, 0);
}

TEST_P(CatalogRecipes, OfAnUploadThatWasThereAlreadyAreDropped) {
  const Version first = MakeVersion(client_, "file", IdOf<UploadId>(1));
  const int64_t recipe = Append(0, Content({1, 2}, {Pack(10, {1, 2})}));
  ASSERT_OK(AddVersion(first, Rest(recipe)));
  const int64_t second = Append(0, Content({1, 2}));
  ASSERT_OK(AddVersion(MakeVersion(client_, "file", IdOf<UploadId>(1)), Rest(second)));
  EXPECT_EQ(Count().dropped_recipes, 1);
  ASSERT_OK(AddVersion(first, Rest(recipe)));
  EXPECT_EQ(Count().dropped_recipes, 1);
  EXPECT_EQ(Release(), 2);
  EXPECT_EQ(ChunksOf(first).size(), 2u);
}

TEST_P(CatalogRecipes, ThatAreNotWholeChangeNothing) {
  ASSERT_OK(AddPending(IdOf<BlobId>(10)));
  ASSERT_OK(Run([](Transaction& transaction) -> absl::Status {
    const BlobLease lease{IdOf<OwnerId>(1), At(1)};
    EXPECT_THAT(transaction.AppendRecipe(Content({1, 2}, {Pack(10, {1})}), lease),
                HasReason(Reason::kBackendDown));
    return absl::OkStatus();
  }));
  EXPECT_EQ(UseOfPack(10), BlobUse::kPending);
  ExpectCounts(0, 0);
}

TEST_P(CatalogRecipes, OfOthersAreDroppedOnceTheirLeaseHasEnded) {
  AddThree();
  const auto append = [&](uint8_t owner, absl::Time end) {
    return TryAppend(Content({1, 2}), IdOf<OwnerId>(owner), end).value();
  };
  const auto drop = [&](absl::Time ended_before, int limit) {
    return Run([&](Transaction& transaction) {
             return transaction.DropPendingBlobsOfOthers(IdOf<OwnerId>(1), ended_before, limit);
           })
        .value();
  };
  const int64_t mine = append(1, At(1));
  const int64_t renewed = append(2, At(1));
  const int64_t lost = append(3, At(1));
  append(3, At(1));
  ASSERT_OK(Run([](Transaction& transaction) {
    return transaction.RenewLeases({IdOf<OwnerId>(2), At(100)});
  }));
  ASSERT_OK(AddPending(IdOf<BlobId>(20), IdOf<OwnerId>(3), At(1)));
  EXPECT_EQ(drop(At(1), 10), 0);
  EXPECT_EQ(drop(At(2), 2), 2);
  EXPECT_EQ(drop(At(2), 2), 1);
  EXPECT_EQ(drop(At(2), 2), 0);
  EXPECT_EQ(Count().dropped_recipes, 2);
  EXPECT_THAT(TryAdd("file", Rest(lost)), HasReason(Reason::kBackendDown));
  AddChunks("a", Rest(mine));
  AddChunks("b", Rest(renewed));
  append(2, absl::InfiniteFuture());
  EXPECT_EQ(drop(absl::InfiniteFuture(), 10), 1);
}

}  // namespace backup::storage
