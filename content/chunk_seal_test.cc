#include "content/chunk_seal.h"

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunker.h"
#include "content/store_keys.h"
#include "crypto/sealed_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;

constexpr auto kSegment = static_cast<size_t>(crypto::kSegmentSize);
constexpr size_t kSealedSegment = kSegment + 16;

const std::string& PackKey() {
  static const auto* const key = new std::string(PseudoRandomBytes(kPackKeySize, 5));
  return *key;
}
BlobId Pack(char c) { return *BlobId::FromBytes(std::string(BlobId::kSize, c)); }
ChunkId Chunk(char c) { return *ChunkId::FromBytes(std::string(ChunkId::kSize, c)); }

std::string Seal(absl::string_view bytes, int index = 3, char id = 'i', char pack = 'p',
                 size_t max_piece = kMaxChunkSize) {
  ChunkSealer sealer(PackKey(), Pack(pack));
  RandomCutSource source(std::string(bytes), max_piece);
  std::string sealed;
  sealer.Begin(index);
  for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read())
    sealer.Update(piece, sealed);
  sealer.Finish(Chunk(id), sealed);
  return sealed;
}

absl::StatusOr<std::string> Unseal(absl::string_view sealed, int index = 3, char id = 'i',
                                   char pack = 'p') {
  return UnsealChunk(PackKey(), {.pack_id = Pack(pack), .index = index}, Chunk(id), sealed);
}

TEST(ChunkSeal, GivesBackTheChunkAtEverySizeHoweverItIsCut) {
  for (const size_t size : {size_t{0}, size_t{1}, kSegment - 1, kSegment, kSegment + 1,
                            2 * kSegment, 2 * kSegment + 1, kMaxChunkSize}) {
    const std::string bytes = PseudoRandomBytes(size);
    const std::string sealed = Seal(bytes);
    EXPECT_EQ(static_cast<int64_t>(sealed.size()), SealedChunkSize(static_cast<int64_t>(size)));
    const auto unsealed = Unseal(sealed);
    ASSERT_OK(unsealed);
    EXPECT_TRUE(*unsealed == bytes) << size;
    for (const size_t max_piece : {size_t{1000}, kSegment, 3 * kSegment})
      EXPECT_TRUE(Seal(bytes, 3, 'i', 'p', max_piece) == sealed) << size << " " << max_piece;
  }
}

TEST(ChunkSeal, SealsOneChunkAfterTheOther) {
  ChunkSealer sealer(PackKey(), Pack('p'));
  std::string first;
  sealer.Begin(0);
  sealer.Update(std::string(100'000, 'a'), first);
  sealer.Finish(Chunk('a'), first);
  std::string given_up;
  sealer.Begin(1);
  sealer.Update(std::string(100'000, 'b'), given_up);
  std::string third;
  sealer.Begin(2);
  sealer.Update(std::string(100'000, 'c'), third);
  sealer.Finish(Chunk('c'), third);
  EXPECT_THAT(Unseal(first, 0, 'a'), IsOkAndHolds(std::string(100'000, 'a')));
  EXPECT_THAT(Unseal(third, 2, 'c'), IsOkAndHolds(std::string(100'000, 'c')));
}

TEST(ChunkSealDeathTest, DiesWhenAnIndexIsUsedTwice) {
  ChunkSealer sealer(PackKey(), Pack('p'));
  sealer.Begin(4);
  EXPECT_DEATH(sealer.Begin(4), "index");
  EXPECT_DEATH(sealer.Begin(3), "index");
}

TEST(ChunkSeal, OpensNothingThatBelongsElsewhere) {
  for (const size_t size : {size_t{10}, kSegment, 2 * kSegment + 10}) {
    const std::string sealed = Seal(PseudoRandomBytes(size));
    EXPECT_OK(Unseal(sealed));
    EXPECT_THAT(Unseal(sealed, 2), HasReason(Reason::kBlobDamaged)) << "another index";
    EXPECT_THAT(Unseal(sealed, 3, 'j'), HasReason(Reason::kBlobDamaged)) << "another chunk";
    EXPECT_THAT(Unseal(sealed, 3, 'i', 'q'), HasReason(Reason::kBlobDamaged)) << "another pack";
    EXPECT_THAT(UnsealChunk(PseudoRandomBytes(kPackKeySize), {Pack('p'), 3}, Chunk('i'), sealed),
                HasReason(Reason::kBlobDamaged));
    EXPECT_THAT(UnsealChunk("", {Pack('p'), 3}, Chunk('i'), sealed),
                HasReason(Reason::kBlobDamaged));
    EXPECT_THAT(UnsealChunk(PackKey(), {Pack('p'), -1}, Chunk('i'), sealed),
                HasReason(Reason::kBlobDamaged));
  }
}

TEST(ChunkSeal, OpensNothingThatWasFlippedAnywhere) {
  const std::string sealed = Seal(PseudoRandomBytes(2 * kSegment + 40));
  for (size_t at = 0; at < sealed.size(); at += at < 32 || at + 100 > sealed.size() ? 1 : 997) {
    std::string flipped = sealed;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
    EXPECT_THAT(Unseal(flipped), HasReason(Reason::kBlobDamaged)) << at;
  }
}

TEST(ChunkSeal, OpensNothingThatWasCutOrAppendedTo) {
  const std::string sealed = Seal(PseudoRandomBytes(2 * kSegment + 40));
  for (const size_t size : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, kSegment, kSealedSegment,
                            kSealedSegment + 1, kSealedSegment + 15, kSealedSegment + 16,
                            2 * kSealedSegment, 2 * kSealedSegment + 16, sealed.size() - 1}) {
    EXPECT_THAT(Unseal(sealed.substr(0, size)), HasReason(Reason::kBlobDamaged)) << size;
    EXPECT_THAT(Unseal(sealed.substr(sealed.size() - size)), HasReason(Reason::kBlobDamaged));
  }
  EXPECT_THAT(Unseal(sealed + "x"), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(sealed + std::string(16, '\0')), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(sealed + sealed), HasReason(Reason::kBlobDamaged));
}

TEST(ChunkSeal, OpensNothingThatWasSpliced) {
  const size_t size = 2 * kSegment + 40;
  const std::string sealed = Seal(PseudoRandomBytes(size));
  const auto segment = [](const std::string& of, size_t i) {
    return of.substr(i * kSealedSegment, kSealedSegment);
  };
  EXPECT_OK(Unseal(segment(sealed, 0) + segment(sealed, 1) + segment(sealed, 2)));
  EXPECT_THAT(Unseal(segment(sealed, 1) + segment(sealed, 0) + segment(sealed, 2)),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 0) + segment(sealed, 0) + segment(sealed, 2)),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 0) + segment(sealed, 2)), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 0) + segment(sealed, 1)), HasReason(Reason::kBlobDamaged));
  // Of another index, and of another pack under the same key.
  for (const std::string& other :
       {Seal(PseudoRandomBytes(size), 4), Seal(PseudoRandomBytes(size), 3, 'i', 'q')}) {
    for (size_t i = 0; i < 3; ++i) {
      const auto of = [&](size_t at) { return segment(at == i ? other : sealed, at); };
      EXPECT_THAT(Unseal(of(0) + of(1) + of(2)), HasReason(Reason::kBlobDamaged)) << i;
    }
  }
}

TEST(PackKey, IsOpenedOnlyForItsPackAndByItsMasterKey) {
  const crypto::KeyRing master(PseudoRandomBytes(32));
  const crypto::KeyRing other(PseudoRandomBytes(32, 2));
  const std::string wrapped = WrapPackKey(PackKey(), Pack('p'), master);
  EXPECT_THAT(OpenPackKey(wrapped, Pack('p'), master), IsOkAndHolds(PackKey()));
  EXPECT_THAT(OpenPackKey(wrapped, Pack('q'), master), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(OpenPackKey(wrapped, Pack('p'), other), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(OpenPackKey("", Pack('p'), master), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(OpenPackKey(StoreKeys::NewSealedSecret(master), Pack('p'), master),
              HasReason(Reason::kBlobDamaged));
}

TEST(InlineSeal, GivesBackTheChunkAndNothingOfAnother) {
  const std::string key = PseudoRandomBytes(32);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65536}, kMaxChunkSize}) {
    const std::string bytes = PseudoRandomBytes(size);
    const std::string sealed = SealInline(key, Chunk('i'), bytes);
    EXPECT_EQ(sealed.size(), size + 28);
    EXPECT_NE(sealed, SealInline(key, Chunk('i'), bytes));
    const auto unsealed = UnsealInline(key, Chunk('i'), sealed);
    ASSERT_OK(unsealed);
    EXPECT_TRUE(*unsealed == bytes);
    EXPECT_THAT(UnsealInline(key, Chunk('j'), sealed), HasReason(Reason::kBlobDamaged));
    EXPECT_THAT(UnsealInline(PackKey(), Chunk('i'), sealed), HasReason(Reason::kBlobDamaged));
  }
}

TEST(InlineSeal, OpensNothingThatWasFlippedOrCut) {
  const std::string key = PseudoRandomBytes(32);
  const std::string sealed = SealInline(key, Chunk('i'), "small content");
  for (size_t at = 0; at < sealed.size(); ++at) {
    std::string flipped = sealed;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_THAT(UnsealInline(key, Chunk('i'), flipped), HasReason(Reason::kBlobDamaged));
    EXPECT_THAT(UnsealInline(key, Chunk('i'), sealed.substr(0, at)),
                HasReason(Reason::kBlobDamaged));
  }
  EXPECT_THAT(UnsealInline(key, Chunk('i'), sealed + "x"), HasReason(Reason::kBlobDamaged));
}

}  // namespace
}  // namespace backup::content
