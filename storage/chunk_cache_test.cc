#include "storage/chunk_cache.h"

#include "gtest/gtest.h"
#include "storage/testing/ids.h"

namespace backup::storage {
namespace {

ChunkRef Ref(uint8_t number) { return {IdOf<ChunkId>(number), 1000 + number}; }

TEST(ChunkCache, HasTheChunksOfPacksThatSomebodyFound) {
  ChunkCache cache(1 << 20);
  EXPECT_FALSE(cache.Has(Ref(1), 0));
  cache.Add(7, /*epoch=*/3, {Ref(1), Ref(2)});
  EXPECT_TRUE(cache.Has(Ref(1), 3));
  EXPECT_TRUE(cache.Has(Ref(2), 0));
  EXPECT_FALSE(cache.Has({Ref(1).id, 5}, 3));
}

TEST(ChunkCache, TellsNothingThatAnOlderSnapshotHad) {
  ChunkCache cache(1 << 20);
  cache.Add(7, /*epoch=*/3, {Ref(1), Ref(2)});
  EXPECT_FALSE(cache.Has(Ref(1), 4));
  // It has moved, and the rest of its pack is gone.
  cache.Add(8, /*epoch=*/4, {Ref(1)});
  EXPECT_TRUE(cache.Has(Ref(1), 4));
  cache.Add(7, /*epoch=*/4, {});
  EXPECT_TRUE(cache.Has(Ref(1), 4));
  EXPECT_FALSE(cache.Has(Ref(2), 0));
}

TEST(ChunkCache, ForgetsAChunk) {
  ChunkCache cache(1 << 20);
  cache.Add(7, 3, {Ref(1), Ref(2)});
  cache.Forget(Ref(1).id);
  EXPECT_FALSE(cache.Has(Ref(1), 3));
  EXPECT_TRUE(cache.Has(Ref(2), 3));
}

TEST(ChunkCache, StaysWithinItsBoundAndKeepsThePackThatWasUsedLast) {
  ChunkCache cache(4 * ChunkCache::kBytesPerChunk);
  cache.Add(1, 0, {Ref(1), Ref(2)});
  cache.Add(2, 0, {Ref(3), Ref(4)});
  EXPECT_TRUE(cache.Has(Ref(1), 0));
  cache.Add(3, 0, {Ref(5), Ref(6)});
  EXPECT_TRUE(cache.Has(Ref(2), 0));
  EXPECT_FALSE(cache.Has(Ref(3), 0));
  EXPECT_TRUE(cache.Has(Ref(6), 0));
  EXPECT_LE(cache.size_bytes(), 4 * ChunkCache::kBytesPerChunk);
  ChunkCache none(0);
  none.Add(1, 0, {Ref(1)});
  EXPECT_FALSE(none.Has(Ref(1), 0));
}

}  // namespace
}  // namespace backup::storage
