#include "crypto/aead.h"

#include <string>

#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::PseudoRandomBytes;

constexpr Aead::Nonce kNonce = {'n'};

bool Opens(Aead& aead, const Aead::Nonce& nonce, absl::string_view context,
           const std::string& sealed, const std::string& plain) {
  std::string opened(sealed.size() - Aead::kTagSize, '?');
  return aead.Open(nonce, context, sealed, opened.data()) && opened == plain;
}

TEST(Aead, SealsAndOpensByTurnsAtEverySize) {
  Aead aead(PseudoRandomBytes(Aead::kKeySize));
  for (const size_t size : {0, 1, 15, 16, 17, 65536, 65537}) {
    for (const char* const context : {"", "context"}) {
      const std::string plain = PseudoRandomBytes(size);
      std::string sealed = "in front";
      aead.Seal(kNonce, context, plain, sealed);
      ASSERT_EQ(sealed.substr(0, 8), "in front");
      sealed.erase(0, 8);
      EXPECT_EQ(sealed.size(), size + Aead::kTagSize);
      EXPECT_TRUE(Opens(aead, kNonce, context, sealed, plain)) << size;
      EXPECT_FALSE(Opens(aead, kNonce, "other", sealed, plain)) << size;
      EXPECT_FALSE(Opens(aead, {}, context, sealed, plain)) << size;
      Aead other(PseudoRandomBytes(Aead::kKeySize, 2));
      EXPECT_FALSE(Opens(other, kNonce, context, sealed, plain)) << size;
      EXPECT_TRUE(Opens(aead, kNonce, context, sealed, plain)) << "after a failure";
    }
  }
}

TEST(Aead, RefusesEachFlippedBit) {
  Aead aead(PseudoRandomBytes(Aead::kKeySize));
  const std::string plain = PseudoRandomBytes(20);
  std::string sealed;
  aead.Seal(kNonce, "context", plain, sealed);
  for (size_t at = 0; at < 8 * sealed.size(); ++at) {
    std::string flipped = sealed;
    flipped[at / 8] = static_cast<char>(flipped[at / 8] ^ (1 << (at % 8)));
    EXPECT_FALSE(Opens(aead, kNonce, "context", flipped, plain)) << at;
  }
}

TEST(AeadDeathTest, DiesOnAKeyOfAnotherSize) { EXPECT_DEATH(Aead("short"), "kKeySize"); }

}  // namespace
}  // namespace backup::crypto
