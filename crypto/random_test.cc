#include "crypto/random.h"

#include <algorithm>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

unsigned char Least(absl::string_view bytes) {
  unsigned char least = 0xFF;
  for (const char c : bytes) least = std::min(least, static_cast<unsigned char>(c));
  return least;
}

TEST(RandomBytes, HaveTheSizeAskedForAndDiffer) {
  EXPECT_EQ(RandomBytes(0), "");
  EXPECT_EQ(RandomBytes(1).size(), 1u);
  EXPECT_EQ(RandomBytes(100000).size(), 100000u);
  EXPECT_NE(RandomBytes(32), RandomBytes(32));
}

TEST(NewClientId, IsAVersion4UuidWithoutSmallBytes) {
  std::set<ClientId> ids;
  for (int i = 0; i < 10000; ++i) {
    const ClientId id = NewClientId();
    ASSERT_GE(Least(id.bytes()), 0x10) << ToUuid(id);
    const std::string text = ToUuid(id);
    ASSERT_EQ(text[14], '4') << text;
    ASSERT_NE(std::string("89ab").find(text[19]), std::string::npos) << text;
    ASSERT_TRUE(ids.insert(id).second) << text;
  }
}

TEST(NewSessionKey, HasItsSizeAndNoZeroByte) {
  std::set<std::string> keys;
  for (int i = 0; i < 10000; ++i) {
    for (const int bits : {128, 256}) {
      const std::string key = NewSessionKey(bits);
      ASSERT_EQ(key.size() * 8, static_cast<size_t>(bits));
      ASSERT_GE(Least(key), 1);
      ASSERT_TRUE(keys.insert(key).second);
    }
  }
}

TEST(NewSessionKeyDeathTest, DiesOnAnotherSize) { EXPECT_DEATH(NewSessionKey(192), "bits"); }

}  // namespace
}  // namespace backup::crypto
