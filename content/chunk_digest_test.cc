#include "content/chunk_digest.h"

#include <set>
#include <string>
#include <vector>

#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using testing::PseudoRandomBytes;
using testing::RandomCutSource;

const ChunkIdKey& Key() {
  static const auto* const key = new ChunkIdKey{PseudoRandomBytes(32, 7), PseudoRandomBytes(32, 8)};
  return *key;
}

TEST(ChunkDigest, IsTheSameHoweverTheBytesAreCutAndWhateverCameBefore) {
  ChunkDigest digest(Key());
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}, size_t{1} << 20}) {
    const std::string bytes = PseudoRandomBytes(size);
    const ChunkId whole = ChunkIdOf(Key(), bytes);
    for (const size_t max_piece : {size_t{97}, size_t{65536}, size_t{3} << 20}) {
      RandomCutSource source(bytes, max_piece);
      for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read())
        digest.Update(piece);
      EXPECT_EQ(digest.Finish(), whole) << size << " " << max_piece;
    }
  }
}

TEST(ChunkDigest, IsAnotherForOtherBytesAndForAnotherKey) {
  std::set<ChunkId> ids;
  const std::string one = "one";
  const std::string all = "all";
  for (const ChunkIdKey& key : {ChunkIdKey{one, all}, ChunkIdKey{std::string("two"), all},
                                ChunkIdKey{one, std::string("a client")}}) {
    for (const char* const bytes : {"", "a", "b", "aa"})
      EXPECT_TRUE(ids.insert(ChunkIdOf(key, bytes)).second);
  }
}

TEST(ChunkDigest, OfTheBytesTellsTheIdInEachScope) {
  ChunkDigest digest(Key());
  digest.Update("bytes");
  const std::string plain = digest.FinishDigest();
  for (const char* const scope : {"all", "a client", "another"})
    EXPECT_EQ(IdInScope(scope, plain), ChunkIdOf({Key().digest_key, std::string(scope)}, "bytes"));
}

TEST(DigestsOf, AreThoseOfEachChunkAlone) {
  const std::string bytes = PseudoRandomBytes(300'000);
  for (const std::vector<size_t>& sizes :
       std::vector<std::vector<size_t>>{{},
                                        {1},
                                        {0, 0, 5},
                                        {1000, 1000},
                                        {100'000, 64},
                                        {64, 100'000, 3, 70'001, 1, 0, 63, 65, 128},
                                        {5, 4, 3, 2, 1, 100'001}}) {
    std::vector<absl::string_view> chunks;
    std::vector<std::string> expected;
    for (const size_t size : sizes) {
      chunks.push_back(absl::string_view(bytes).substr(chunks.size() * 17, size));
      ChunkDigest alone(Key());
      alone.Update(chunks.back());
      expected.push_back(alone.FinishDigest());
    }
    EXPECT_EQ(DigestsOf(Key(), chunks), expected);
  }
}

}  // namespace
}  // namespace backup::content
