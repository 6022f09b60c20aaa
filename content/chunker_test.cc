#include "content/chunker.h"

#include <algorithm>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "gtest/gtest.h"

namespace backup::content {
namespace {

std::string RandomBytes(size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes;
  bytes.reserve(size + 8);
  while (bytes.size() < size) {
    const uint64_t word = random();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  bytes.resize(size);
  return bytes;
}

GearTable RandomGear(unsigned seed = 1) {
  std::mt19937_64 random(seed);
  GearTable gear;
  for (uint64_t& number : gear) number = random();
  return gear;
}

// Where the chunks end, the last one left out, when at most `part_size()` bytes are given at once.
template <typename PartSize>
std::vector<size_t> Cuts(absl::string_view bytes, const GearTable& gear, const PartSize& part_size,
                         RollingHash::Engine engine = RollingHash::BestEngine()) {
  Chunker chunker(gear, engine);
  std::vector<size_t> cuts;
  size_t done = 0;
  while (done < bytes.size()) {
    const absl::string_view part = bytes.substr(done, part_size());
    const size_t taken = chunker.Take(part);
    EXPECT_TRUE(taken == part.size() || (taken < part.size() && chunker.ended()));
    done += taken;
    if (taken > 0 && chunker.ended()) cuts.push_back(done);
  }
  return cuts;
}

std::vector<size_t> Cuts(absl::string_view bytes, const GearTable& gear = RandomGear()) {
  return Cuts(bytes, gear, [] { return absl::string_view::npos; });
}

std::vector<size_t> Sizes(absl::string_view bytes, const GearTable& gear = RandomGear()) {
  std::vector<size_t> sizes;
  size_t begin = 0;
  for (const size_t cut : Cuts(bytes, gear)) {
    sizes.push_back(cut - begin);
    begin = cut;
  }
  return sizes;
}

// What Take() promises, said as simply as can be: a chunk ends at the first size at which the hash
// of its last 32 bytes is low enough.
std::vector<size_t> ExpectedCuts(absl::string_view bytes, const GearTable& gear) {
  std::vector<size_t> cuts;
  size_t begin = 0;
  uint32_t hash = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t size = i + 1 - begin;
    hash = 2 * hash + static_cast<uint32_t>(gear[static_cast<unsigned char>(bytes[i])] >> 32);
    if (size < kMinChunkSize) continue;
    const int zero_bits = size < kNormalChunkSize ? 23 : 17;
    if (hash >> (32 - zero_bits) != 0 && size < kMaxChunkSize) continue;
    begin = i + 1;
    cuts.push_back(begin);
  }
  return cuts;
}

// Bytes with boundaries of all kinds: noise, runs of one byte, text that repeats.
std::string MixedBytes(unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes;
  while (bytes.size() < (size_t{12} << 20)) {
    const size_t size = random() % (3 << 20);
    const unsigned kind = random() % 3;
    if (kind == 0) bytes += RandomBytes(size, random());
    if (kind == 1) bytes.append(size, static_cast<char>(random()));
    if (kind == 2) {
      const std::string line = RandomBytes(1 + random() % 5000, random());
      for (size_t i = 0; i < size; i += line.size()) bytes += line;
    }
  }
  return bytes;
}

class ChunkerOfEach : public ::testing::TestWithParam<RollingHash::Engine> {
 protected:
  void SetUp() override {
    if (GetParam() == RollingHash::Engine::kWide && RollingHash::BestEngine() != GetParam())
      GTEST_SKIP();
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, ChunkerOfEach,
                         ::testing::Values(RollingHash::Engine::kWide,
                                           RollingHash::Engine::kPortable));

TEST_P(ChunkerOfEach, EndsChunksWhereItsRuleSays) {
  const auto all = [] { return absl::string_view::npos; };
  for (const unsigned seed : {1, 2, 3}) {
    const std::string bytes = MixedBytes(seed);
    const GearTable gear = RandomGear(seed);
    EXPECT_EQ(Cuts(bytes, gear, all, GetParam()), ExpectedCuts(bytes, gear)) << "seed " << seed;
  }
}

TEST_P(ChunkerOfEach, HowTheContentIsSplitIntoCallsDoesNotMatter) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    const std::string bytes = MixedBytes(seed);
    const std::vector<size_t> expected = Cuts(bytes);
    std::mt19937 random(seed);
    const size_t largest = size_t{1} << (2 * seed + 2);
    const auto part_size = [&] { return random() % largest; };
    EXPECT_EQ(Cuts(bytes, RandomGear(), part_size, GetParam()), expected) << "seed " << seed;
  }
}

// With a high threshold there is a place of each kind in a block.
TEST_P(ChunkerOfEach, FindsEachPlaceOfABlock) {
  const std::string bytes = RandomBytes(1 << 20, 19);
  const GearTable gear = RandomGear();
  for (const uint32_t threshold : {uint32_t{1} << 18, uint32_t{1} << 20, uint32_t{1} << 24}) {
    RollingHash hash(gear, GetParam());
    uint32_t expected = 0;
    size_t done = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      expected = 2 * expected + static_cast<uint32_t>(gear[static_cast<uint8_t>(bytes[i])] >> 32);
      if (expected >= threshold) continue;
      const auto found = hash.FindBelow(absl::string_view(bytes).substr(done), threshold);
      ASSERT_TRUE(found) << i;
      done += *found;
      ASSERT_EQ(done, i + 1);
    }
    EXPECT_FALSE(hash.FindBelow(absl::string_view(bytes).substr(done), threshold));
  }
}

TEST(Chunker, EveryByteAlone) {
  const std::string bytes = RandomBytes(6 << 20, 5);
  EXPECT_EQ(Cuts(bytes, RandomGear(), [] { return 1; }), Cuts(bytes));
}

TEST(Chunker, ChunksOfNoiseHaveTheirSizes) {
  std::vector<size_t> sizes = Sizes(RandomBytes(size_t{256} << 20, 7));
  std::sort(sizes.begin(), sizes.end());
  ASSERT_GT(sizes.size(), 200u);
  const auto part_below = [&](size_t size) {
    const auto end = std::lower_bound(sizes.begin(), sizes.end(), size);
    return static_cast<double>(end - sizes.begin()) / static_cast<double>(sizes.size());
  };
  EXPECT_GE(sizes.front(), kMinChunkSize);
  EXPECT_LE(sizes.back(), kMaxChunkSize);
  // Half a MiB with an end every 8 MiB; then one every 128 KiB: half of the rest within 89 KiB.
  EXPECT_NEAR(part_below(kNormalChunkSize), 0.02, 0.02);
  EXPECT_NEAR(part_below(kNormalChunkSize + (89 << 10)), 0.53, 0.1);
  EXPECT_GT(part_below(kNormalChunkSize + (1 << 20)), 0.98);
}

// How many bytes of `changed` are in chunks that `before` does not have.
size_t NewBytes(absl::string_view before, absl::string_view changed) {
  std::unordered_set<std::string> known;
  size_t begin = 0;
  for (const size_t cut : Cuts(before)) {
    known.emplace(before.substr(begin, cut - begin));
    begin = cut;
  }
  size_t fresh = 0;
  begin = 0;
  for (const size_t cut : Cuts(changed)) {
    if (!known.contains(std::string(changed.substr(begin, cut - begin)))) fresh += cut - begin;
    begin = cut;
  }
  return fresh;
}

TEST(Chunker, AfterAnInsertionTheChunksAreTheSameAgain) {
  const std::string before = RandomBytes(size_t{24} << 20, 11);
  size_t sum = 0;
  for (unsigned seed = 0; seed < 4; ++seed) {
    std::mt19937 random(seed);
    std::string changed = before;
    changed.insert(random() % (size_t{8} << 20), RandomBytes(1 + random() % 1000, seed));
    const size_t fresh = NewBytes(before, changed);
    EXPECT_LE(fresh, size_t{16} << 20) << "seed " << seed;
    sum += fresh;
  }
  EXPECT_LE(sum / 4, size_t{2} << 20);
}

TEST(Chunker, WithoutABoundaryAChunkHasTheMaximum) {
  for (const char byte : {'\0', 'x', '\xff'}) {
    const std::vector<size_t> sizes = Sizes(std::string(3 * kMaxChunkSize + 5, byte));
    EXPECT_EQ(sizes, std::vector<size_t>(3, kMaxChunkSize));
  }
}

TEST(Chunker, WithABoundaryEverywhereAChunkHasTheMinimum) {
  const std::string bytes = RandomBytes(10 * kMinChunkSize + 5, 3);
  EXPECT_EQ(Sizes(bytes, GearTable{}), std::vector<size_t>(10, kMinChunkSize));
}

TEST(Chunker, RepeatsMakeFewKindsOfChunks) {
  // What a hostile sender would try: the same MiBs again and again, with an end of its own.
  const std::string piece = RandomBytes(5 << 20, 13);
  std::string bytes;
  for (int i = 0; i < 12; ++i) bytes += piece;
  std::unordered_set<std::string> kinds;
  size_t begin = 0;
  for (const size_t cut : Cuts(bytes)) {
    kinds.insert(bytes.substr(begin, cut - begin));
    begin = cut;
  }
  size_t kept = 0;
  for (const std::string& kind : kinds) kept += kind.size();
  EXPECT_LE(kept, 2 * piece.size());
}

TEST(Chunker, AnotherTableMakesOtherChunks) {
  const std::string bytes = RandomBytes(size_t{16} << 20, 17);
  const std::vector<size_t> one = Cuts(bytes, RandomGear(1));
  for (const size_t cut : Cuts(bytes, RandomGear(2)))
    EXPECT_EQ(std::count(one.begin(), one.end(), cut), 0);
}

}  // namespace
}  // namespace backup::content
