#include "base/checksum.h"

#include <cstdint>
#include <string>

#include "base/byte_stream.h"
#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::PseudoRandomBytes;
using testing::RandomCutSource;

// The definitions, a bit at a time.
uint32_t ReferenceCksum(absl::string_view bytes) {
  uint32_t state = 0;
  const auto take = [&](uint8_t byte) {
    state ^= uint32_t{byte} << 24;
    for (int i = 0; i < 8; ++i) state = (state << 1) ^ ((state >> 31) != 0 ? 0x04C11DB7u : 0u);
  };
  for (const char c : bytes) take(static_cast<uint8_t>(c));
  for (uint64_t rest = bytes.size(); rest != 0; rest >>= 8) take(static_cast<uint8_t>(rest));
  return ~state;
}

uint32_t ReferenceCrc32(absl::string_view bytes) {
  uint32_t state = 0xFFFFFFFF;
  for (const char c : bytes) {
    state ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) state = (state >> 1) ^ ((state & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~state;
}

template <typename Checksum>
uint32_t Of(absl::string_view bytes) {
  Checksum checksum;
  checksum.Update(bytes);
  return checksum.Value();
}

template <typename Checksum>
uint32_t OfRandomCuts(const std::string& bytes, uint32_t seed) {
  Checksum checksum;
  RandomCutSource source(bytes, 300, seed);
  for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read()) {
    checksum.Update(piece);
  }
  return checksum.Value();
}

TEST(Cksum, HasItsKnownValues) {
  EXPECT_EQ(Of<Cksum>("123456789"), 930766865u);
  EXPECT_EQ(Of<Cksum>(""), 4294967295u);
  EXPECT_EQ(Cksum().Value(), 4294967295u);
}

TEST(Crc32, HasItsKnownValues) {
  EXPECT_EQ(Of<Crc32>("123456789"), 0xCBF43926u);
  EXPECT_EQ(Of<Crc32>(""), 0u);
  EXPECT_EQ(Crc32().Value(), 0u);
}

TEST(Checksums, FollowTheDefinitionAtEverySizeUpToAThousand) {
  const std::string bytes = PseudoRandomBytes(1000);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const absl::string_view front = absl::string_view(bytes).substr(0, size);
    ASSERT_EQ(Of<Cksum>(front), ReferenceCksum(front)) << size;
    ASSERT_EQ(Of<Crc32>(front), ReferenceCrc32(front)) << size;
  }
}

TEST(Checksums, DoNotDependOnWhereTheBytesAreCut) {
  const std::string bytes = PseudoRandomBytes(70000);  // Three bytes of length for cksum.
  const uint32_t cksum = ReferenceCksum(bytes);
  const uint32_t crc32 = ReferenceCrc32(bytes);
  for (uint32_t seed = 0; seed < 20; ++seed) {
    ASSERT_EQ(OfRandomCuts<Cksum>(bytes, seed), cksum) << seed;
    ASSERT_EQ(OfRandomCuts<Crc32>(bytes, seed), crc32) << seed;
  }
}

TEST(Checksums, CanBeAskedBeforeTheEnd) {
  Cksum cksum;
  Crc32 crc32;
  cksum.Update("12345");
  crc32.Update("12345");
  EXPECT_EQ(cksum.Value(), ReferenceCksum("12345"));
  EXPECT_EQ(crc32.Value(), ReferenceCrc32("12345"));
  cksum.Update("6789");
  crc32.Update("6789");
  EXPECT_EQ(cksum.Value(), 930766865u);
  EXPECT_EQ(crc32.Value(), 0xCBF43926u);
}

}  // namespace
}  // namespace backup
