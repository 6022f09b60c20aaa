#include "content/chunk_digest.h"

#include <set>
#include <string>

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
  for (const ChunkIdKey& key :
       {ChunkIdKey{"one", "all"}, ChunkIdKey{"two", "all"}, ChunkIdKey{"one", "a client"}}) {
    for (const char* const bytes : {"", "a", "b", "aa"})
      EXPECT_TRUE(ids.insert(ChunkIdOf(key, bytes)).second);
  }
}

TEST(ChunkDigest, OfTheBytesTellsTheIdInEachScope) {
  ChunkDigest digest(Key());
  digest.Update("bytes");
  const std::string plain = digest.FinishDigest();
  for (const char* const scope : {"all", "a client", "another"})
    EXPECT_EQ(IdInScope(scope, plain), ChunkIdOf({Key().digest_key, scope}, "bytes"));
}

}  // namespace
}  // namespace backup::content
