#include "crypto/sha256.h"

#include <openssl/evp.h>

#include <random>
#include <string>

#include "absl/strings/escaping.h"
#include "base/hex.h"
#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using Engine = Sha256::Engine;

std::string HexOf(Engine engine, absl::string_view bytes) {
  Sha256 hash(engine);
  hash.Update(bytes);
  return absl::BytesToHexString(hash.Finish());
}

// Of OpenSSL, without our code.
std::string ExpectedOf(absl::string_view bytes) {
  std::string digest(kSha256Size, '\0');
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
             EVP_sha256(), nullptr);
  return digest;
}

class Sha256OfEach : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    if (GetParam() == Engine::kLanes && !HasSha256Lanes()) GTEST_SKIP();
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, Sha256OfEach,
                         ::testing::Values(Engine::kLanes, Engine::kOpenSsl));

// FIPS 180-2, appendix B, its message of 896 bits, and the empty message.
TEST_P(Sha256OfEach, HasItsKnownValues) {
  EXPECT_EQ(HexOf(GetParam(), ""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf(GetParam(), "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexOf(GetParam(), "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HexOf(GetParam(),
                  "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
                  "klmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(HexOf(GetParam(), std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// NIST's SHA256ShortMsg.rsp (CAVS 11.0), some of each length.
TEST_P(Sha256OfEach, HasTheValuesOfNistsShortMessages) {
  const std::pair<const char*, const char*> kVectors[] = {
      {"d3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
      {"11af", "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"},
      {"b4190e", "dff2e73091f6c05e528896c4c831b9448653dc2ff043528f6769437bc7b975c2"},
      {"74ba2521", "b16aa56be3880d18cd41e68384cf1ec8c17680c45a02b1575dc1518923ae8b0e"}};
  for (const auto& [message, digest] : kVectors)
    EXPECT_EQ(HexOf(GetParam(), *HexToBytes(message)), digest);
}

TEST_P(Sha256OfEach, IsAsOpenSslSaysForEachSizeAndPlace) {
  const std::string bytes = testing::PseudoRandomBytes(1000);
  for (size_t size = 0; size < 400; ++size) {
    const absl::string_view message = absl::string_view(bytes).substr(size % 67, size);
    ASSERT_EQ(HexOf(GetParam(), message), absl::BytesToHexString(ExpectedOf(message))) << size;
  }
}

TEST_P(Sha256OfEach, DoesNotDependOnWhereTheBytesAreCut) {
  const std::string bytes = testing::PseudoRandomBytes(10000);
  testing::RandomCutSource source(bytes, 200);
  Sha256 hash(GetParam());
  for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read()) {
    hash.Update(piece);
  }
  EXPECT_EQ(hash.Finish(), ExpectedOf(bytes));
}

TEST_P(Sha256OfEach, ACopyGoesItsOwnWay) {
  const std::string bytes = testing::PseudoRandomBytes(1000);
  for (size_t size = 0; size < 200; ++size) {
    Sha256 hash(GetParam());
    hash.Update(absl::string_view(bytes).substr(0, size));
    Sha256 copy = hash;
    Sha256 assigned(Engine::kOpenSsl);
    assigned = copy;
    copy.Update("other");
    hash.Update(absl::string_view(bytes).substr(size));
    ASSERT_EQ(hash.Finish(), ExpectedOf(bytes));
    ASSERT_EQ(copy.Finish(), ExpectedOf(bytes.substr(0, size) + "other"));
    ASSERT_EQ(assigned.Finish(), ExpectedOf(bytes.substr(0, size)));
  }
}

TEST_P(Sha256OfEach, BothAtOnceTakeBytesOfTheirOwn) {
  const std::string bytes = testing::PseudoRandomBytes(2000);
  for (size_t first_size = 0; first_size < 300; first_size += 13) {
    for (size_t second_size = 0; second_size < 300; second_size += 17) {
      const std::string one = bytes.substr(first_size, first_size);
      const std::string other = bytes.substr(1000, second_size);
      Sha256 first(GetParam());
      Sha256 second(GetParam());
      for (int i = 0; i < 3; ++i) Sha256::UpdateBoth(first, one, second, other);
      ASSERT_EQ(first.Finish(), ExpectedOf(one + one + one));
      ASSERT_EQ(second.Finish(), ExpectedOf(other + other + other));
    }
  }
}

TEST_P(Sha256OfEach, BothAtOnceAreAsOpenSslSaysForAllPlacesInABlock) {
  const std::string bytes = testing::PseudoRandomBytes(1000);
  for (size_t first_size = 0; first_size < kSha256BlockSize; ++first_size) {
    for (size_t second_size = 0; second_size < kSha256BlockSize; ++second_size) {
      // Up to three whole blocks in both, and any number of bytes behind them.
      const size_t size = (first_size * 31 + second_size * 57) % 257;
      const std::string common = bytes.substr(500, size);
      Sha256 first(GetParam());
      Sha256 second(GetParam());
      first.Update(bytes.substr(0, first_size));
      second.Update(bytes.substr(100, second_size));
      Sha256::UpdateBoth(first, second, common);
      ASSERT_EQ(first.Finish(), ExpectedOf(bytes.substr(0, first_size) + common));
      ASSERT_EQ(second.Finish(), ExpectedOf(bytes.substr(100, second_size) + common));
    }
  }
}

TEST_P(Sha256OfEach, BothAtOnceDoNotDependOnWhereTheBytesAreCut) {
  const std::string bytes = testing::PseudoRandomBytes(200000);
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const size_t ahead = random() % 1000;
    const size_t largest = 1 + random() % 20000;
    Sha256 first(GetParam());
    Sha256 second(GetParam());
    first.Update(bytes.substr(0, ahead));
    for (absl::string_view rest = absl::string_view(bytes).substr(ahead); !rest.empty();) {
      const absl::string_view part = rest.substr(0, random() % (largest + 1));
      Sha256::UpdateBoth(first, second, part);
      rest.remove_prefix(part.size());
    }
    ASSERT_EQ(first.Finish(), ExpectedOf(bytes)) << "seed " << seed;
    ASSERT_EQ(second.Finish(), ExpectedOf(bytes.substr(ahead))) << "seed " << seed;
  }
}

TEST(Sha256, OneByLanesAndOneByOpenSslAtOnce) {
  if (!HasSha256Lanes()) GTEST_SKIP();
  const std::string bytes = testing::PseudoRandomBytes(1000);
  Sha256 first(Engine::kLanes);
  Sha256 second(Engine::kOpenSsl);
  Sha256::UpdateBoth(first, second, bytes);
  EXPECT_EQ(first.Finish(), ExpectedOf(bytes));
  EXPECT_EQ(second.Finish(), ExpectedOf(bytes));
}

}  // namespace
}  // namespace backup::crypto
