#include "base/hex.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::Optional;

TEST(Hex, ReadsDigitsOfEitherCase) {
  EXPECT_THAT(HexToBytes("00ff7FAb"), Optional(std::string("\0\xff\x7f\xab", 4)));
  EXPECT_THAT(HexToBytes(""), Optional(std::string()));
}

TEST(Hex, RefusesWhatIsNoHex) {
  for (const char* text : {"0", "abc", "0g", "g0", "0x", " 0", "0 ", "\xff\xff", "-1"})
    EXPECT_EQ(HexToBytes(text), std::nullopt) << text;
}

}  // namespace
}  // namespace backup
