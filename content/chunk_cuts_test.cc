#include "content/chunk_cuts.h"

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"
#include "base/testing/random_cut_source.h"
#include "content/decoding.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

const ChunkIdKey kKey{std::string("0123456789abcdef0123456789abcdef"), std::string("everybody")};

GearTable RandomGear() {
  std::mt19937_64 random(1);
  GearTable gear;
  for (uint64_t& number : gear) number = random();
  return gear;
}

// That they follow each other, and have the ids of their bytes; how many of `bytes` they are.
int64_t CheckChunks(const std::vector<EndedChunk>& chunks, absl::string_view bytes) {
  int64_t begin = 0;
  for (const EndedChunk& chunk : chunks) {
    EXPECT_EQ(chunk.end, begin + chunk.ref.size_bytes);
    const absl::string_view own =
        bytes.substr(static_cast<size_t>(begin), static_cast<size_t>(chunk.ref.size_bytes));
    EXPECT_EQ(chunk.ref.id, ChunkIdOf(kKey, own));
    begin = chunk.end;
  }
  return begin;
}

std::string Sha256Of(absl::string_view bytes) {
  crypto::Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

TEST(ChunkCuts, OfAPlaintextThatIsReadAheadOnAnotherThread) {
  const GearTable gear = RandomGear();
  const std::string bytes = testing::PseudoRandomBytes(20 << 20);
  testing::RandomCutSource sent(bytes, 300000);
  PlaintextMeasures measures;
  measures.sums.cksum.emplace();
  ChunkCuts cuts(gear, kKey, measures);
  PieceBudget budget;
  const Encoding encoding{.size_bytes = std::ssize(bytes)};
  const auto plain = Decode(encoding, "", {}, sent, budget,
                            [&cuts](absl::string_view part) { cuts.Update(part); });
  ReadAheadSlots slots;
  const auto ahead = ReadAheadSource::TryMake(*plain.source, slots);

  std::vector<EndedChunk> chunks;
  int64_t read = 0;
  const auto take_chunks = [&] {
    while (const auto chunk = cuts.Next(read)) {
      EXPECT_LE(chunk->end, read);
      chunks.push_back(*chunk);
    }
  };
  while (true) {
    const absl::string_view piece = *ahead->Read();
    if (piece.empty()) break;
    read += std::ssize(piece);
    take_chunks();
    // What was read and is in no chunk yet is less than a chunk.
    EXPECT_LT(read - (chunks.empty() ? 0 : chunks.back().end), static_cast<int64_t>(kMaxChunkSize));
  }
  cuts.Finish();
  take_chunks();
  EXPECT_EQ(CheckChunks(chunks, bytes), std::ssize(bytes));
  EXPECT_GT(chunks.size(), 10u);
  EXPECT_EQ(measures.size_bytes, std::ssize(bytes));
  EXPECT_EQ(measures.sha256.Finish(), Sha256Of(bytes));
  Cksum cksum;
  cksum.Update(bytes);
  EXPECT_EQ(measures.sums.cksum->Value(), cksum.Value());
}

TEST(ChunkCuts, OfSmallContentIsOneChunkAndOfNoneNone) {
  const GearTable gear = RandomGear();
  for (const size_t size : {size_t{0}, size_t{1}, kMinChunkSize}) {
    const std::string bytes = testing::PseudoRandomBytes(size);
    PlaintextMeasures measures;
    ChunkCuts cuts(gear, kKey, measures);
    cuts.Update(bytes);
    cuts.Finish();
    std::vector<EndedChunk> chunks;
    while (const auto chunk = cuts.Next(std::ssize(bytes))) chunks.push_back(*chunk);
    EXPECT_EQ(chunks.size(), size == 0 ? 0u : 1u);
    EXPECT_EQ(CheckChunks(chunks, bytes), std::ssize(bytes));
  }
}

TEST(ChunkCuts, AContentThatEndsWithAChunkHasNoEmptyOne) {
  const GearTable gear = RandomGear();
  const std::string bytes(2 * kMaxChunkSize, 'x');
  PlaintextMeasures measures;
  ChunkCuts cuts(gear, kKey, measures);
  cuts.Update(bytes);
  cuts.Finish();
  EXPECT_FALSE(cuts.Next(static_cast<int64_t>(kMaxChunkSize) - 1));
  const auto first = cuts.Next(std::ssize(bytes));
  const auto second = cuts.Next(std::ssize(bytes));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->ref, second->ref);
  EXPECT_EQ(second->end, std::ssize(bytes));
  EXPECT_FALSE(cuts.Next(std::ssize(bytes)));
}

TEST(ChunkCuts, AnotherKeyMakesOtherIds) {
  EXPECT_EQ(ChunkIdOf(kKey, "bytes"), ChunkIdOf(kKey, "bytes"));
  EXPECT_NE(ChunkIdOf(kKey, "bytes"),
            ChunkIdOf({std::string("another key"), kKey.scope_key}, "bytes"));
  EXPECT_NE(ChunkIdOf(kKey, "bytes"),
            ChunkIdOf({kKey.digest_key, std::string("another")}, "bytes"));
}

}  // namespace
}  // namespace backup::content
