#include "crypto/hmac_sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <random>
#include <string>

#include "absl/strings/escaping.h"
#include "base/hex.h"
#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

class HmacSha256OfEach : public ::testing::TestWithParam<Sha256::Engine> {
 protected:
  void SetUp() override {
    if (GetParam() == Sha256::Engine::kLanes && !HasSha256Lanes()) GTEST_SKIP();
  }
  std::string HexOf(absl::string_view key, absl::string_view bytes) {
    HmacSha256 hmac(key, GetParam());
    hmac.Update(bytes);
    return absl::BytesToHexString(hmac.Finish());
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, HmacSha256OfEach,
                         ::testing::Values(Sha256::Engine::kLanes, Sha256::Engine::kOpenSsl));

// RFC 4231, test cases 1 to 7; of case 5 it has the first 16 bytes.
TEST_P(HmacSha256OfEach, HasItsKnownValues) {
  EXPECT_EQ(HexOf(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(HexOf("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(HexOf(std::string(20, '\xaa'), std::string(50, '\xdd')),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(HexOf(*HexToBytes("0102030405060708090a0b0c0d0e0f10111213141516171819"),
                  std::string(50, '\xcd')),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  EXPECT_EQ(HexOf(std::string(20, '\x0c'), "Test With Truncation").substr(0, 32),
            "a3b6167473100ee06e0c796c2955552b");
  EXPECT_EQ(
      HexOf(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(HexOf(std::string(131, '\xaa'),
                  "This is a test using a larger than block-size key and a larger than block-size "
                  "data. The key needs to be hashed before being used by the HMAC algorithm."),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST_P(HmacSha256OfEach, OneMessageAfterTheOtherBesideAFileIsAsOpenSslSays) {
  const std::string bytes = testing::PseudoRandomBytes(100000);
  std::mt19937 random(GetParam() == Sha256::Engine::kLanes ? 1 : 2);
  for (const size_t key_size : {0, 1, 32, 63, 64, 65, 200}) {
    const std::string key = bytes.substr(1000, key_size);
    HmacSha256 hmac(key, GetParam());
    Sha256 file(GetParam());
    size_t done = 0;
    while (done < bytes.size()) {
      const std::string message = bytes.substr(done, random() % 5000);
      for (absl::string_view rest = message; !rest.empty();) {
        const absl::string_view part = rest.substr(0, random() % 300);
        hmac.UpdateWith(file, part);
        rest.remove_prefix(part.size());
      }
      done += message.size();
      std::string expected(kSha256Size, '\0');
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(),
           reinterpret_cast<unsigned char*>(expected.data()), nullptr);
      ASSERT_EQ(absl::BytesToHexString(hmac.Finish()), absl::BytesToHexString(expected)) << done;
    }
    Sha256 whole(Sha256::Engine::kOpenSsl);
    whole.Update(bytes);
    EXPECT_EQ(file.Finish(), whole.Finish());
  }
}

}  // namespace
}  // namespace backup::crypto
