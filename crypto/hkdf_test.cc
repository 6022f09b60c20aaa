#include "crypto/hkdf.h"

#include "base/hex.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

// RFC 5869, test case 3.
TEST(Hkdf, GivesTheExampleOfItsDefinition) {
  EXPECT_EQ(Hkdf(std::string(22, '\x0b'), "", 42),
            *HexToBytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                        "9d201395faa4b61a96c8"));
}

TEST(Hkdf, GivesOtherBytesForEachSecretAndInfo) {
  EXPECT_EQ(Hkdf("secret", "info", 32), Hkdf("secret", "info", 32));
  EXPECT_NE(Hkdf("secret", "info", 32), Hkdf("secret", "other", 32));
  EXPECT_NE(Hkdf("secret", "info", 32), Hkdf("other", "info", 32));
}

TEST(Hkdf, GivesAsMuchAsThereMayBe) {
  const std::string most = Hkdf("secret", "info", 8160);
  EXPECT_EQ(most.size(), 8160);
  EXPECT_EQ(most.substr(0, 32), Hkdf("secret", "info", 32));
}

}  // namespace
}  // namespace backup::crypto
