#include "crypto/cipher.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;

constexpr size_t kBlock = 16;

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* Bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// AES-CBC with a zero IV, and PKCS#7 padding unless `padded` is false.
std::string Encrypt(const std::string& key, const std::string& plain, bool padded = true) {
  const unsigned char zero_iv[kBlock] = {};
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, key.size() == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc(), nullptr,
                     Bytes(key), zero_iv);
  EVP_CIPHER_CTX_set_padding(context, padded ? 1 : 0);
  std::string out(plain.size() + kBlock, '\0');
  int size = 0;
  int rest = 0;
  EVP_EncryptUpdate(context, Bytes(out), &size, Bytes(plain), static_cast<int>(plain.size()));
  EVP_EncryptFinal_ex(context, Bytes(out) + size, &rest);
  EVP_CIPHER_CTX_free(context);
  out.resize(static_cast<size_t>(size + rest));
  return out;
}

absl::StatusOr<std::string> Decrypt(const std::string& key, const std::string& ciphertext) {
  StringSource source(ciphertext);
  PieceBudget budget;
  DecryptSource plain(source, budget, std::nullopt, std::make_unique<CbcDecryptor>(key));
  return ReadAll(plain, ciphertext.size());
}

// NIST SP 800-38A, F.2.2 and F.2.6. Their IV is not zero, so it stays in our first block.
std::string NistPlaintext() {
  std::string plain = *HexToBytes(
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
      "30c81c46a35ce411e5fbc1191a0a52ef");
  for (size_t i = 0; i < kBlock; ++i) plain[i] = static_cast<char>(plain[i] ^ static_cast<char>(i));
  return plain;
}

absl::StatusOr<std::string> Update(CbcDecryptor& decryptor, absl::string_view piece) {
  std::string plain(piece.size() + kCipherBlockSize, '\0');
  ASSIGN_OR_RETURN(const size_t size, decryptor.Update(piece, plain.data()));
  return plain.substr(0, size);
}

// Update() holds back the last block, which may be padding: three of four come out.
TEST(CbcDecryptor, FollowsTheNistVectorForAes128) {
  CbcDecryptor decryptor(*HexToBytes("2b7e151628aed2a6abf7158809cf4f3c"));
  EXPECT_THAT(
      Update(decryptor,
             *HexToBytes("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
                         "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7")),
      IsOkAndHolds(NistPlaintext()));
}

TEST(CbcDecryptor, FollowsTheNistVectorForAes256) {
  CbcDecryptor decryptor(
      *HexToBytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"));
  EXPECT_THAT(
      Update(decryptor,
             *HexToBytes("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
                         "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b")),
      IsOkAndHolds(NistPlaintext()));
}

constexpr CbcFormat kVectorInFront{.initial_vector = CbcFormat::InitialVector::kInFront};
constexpr CbcFormat kPaddedWithZeros{.padding = CbcFormat::Padding::kZeros};

absl::StatusOr<std::string> DecryptAs(const CbcFormat& format, const std::string& key,
                                      const std::string& ciphertext, size_t max_piece = 1000) {
  RandomCutSource source(ciphertext, max_piece);
  PieceBudget budget;
  DecryptSource plain(source, budget, std::nullopt, std::make_unique<CbcDecryptor>(key, format));
  return ReadAll(plain, ciphertext.size());
}

// NIST SP 800-38A, F.2.2, with its IV.
TEST(CbcDecryptor, FollowsTheNistVectorWithTheInitialVectorInFront) {
  const CbcFormat format{.initial_vector = CbcFormat::InitialVector::kInFront,
                         .padding = CbcFormat::Padding::kZeros};
  EXPECT_THAT(
      DecryptAs(format, *HexToBytes("2b7e151628aed2a6abf7158809cf4f3c"),
                *HexToBytes("000102030405060708090a0b0c0d0e0f7649abac8119b246cee98e9b12e9197d"
                            "5086cb9b507219ee95db113a917678b2")),
      IsOkAndHolds(
          *HexToBytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")));
}

TEST(CbcDecryptor, TakesEitherPaddingAndVectorAtEverySizeHoweverItIsCut) {
  const std::string key = PseudoRandomBytes(32, 7);
  for (const size_t size : {0, 1, 15, 16, 17, 100'000}) {
    const std::string plain = PseudoRandomBytes(size);
    // The first block of a ciphertext serves as the IV of the rest.
    const std::string with_vector = Encrypt(key, PseudoRandomBytes(kBlock, 9) + plain);
    const std::string filled = plain + std::string((kBlock - size % kBlock) % kBlock, '\0');
    for (const size_t max_piece : {size_t{1}, size_t{20}, size_t{5000}}) {
      EXPECT_THAT(DecryptAs(kVectorInFront, key, with_vector, max_piece), IsOkAndHolds(plain));
      EXPECT_THAT(DecryptAs(kPaddedWithZeros, key, Encrypt(key, filled, false), max_piece),
                  IsOkAndHolds(filled));
    }
  }
}

TEST(CbcDecryptor, RefusesASizeThatCannotBe) {
  const std::string key = PseudoRandomBytes(16);
  for (const size_t size : {0, 1, 15, 16}) {
    EXPECT_EQ(DecryptAs(kVectorInFront, key, std::string(size, 'x')).status(),
              TooShortForItsVector())
        << size;
  }
  for (const size_t size : {1, 15, 17, 1007})
    EXPECT_EQ(DecryptAs(kPaddedWithZeros, key, std::string(size, 'x')).status(), NoWholeBlocks());
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(CbcDecryptor, TakesOneCiphertextAfterTheOther) {
  const std::string key = PseudoRandomBytes(16);
  const std::string ciphertext = Encrypt(key, PseudoRandomBytes(kBlock, 9) + "plaintext");
  CbcDecryptor decryptor(key, kVectorInFront);
  for (int round = 0; round < 3; ++round) {
    std::string plain(ciphertext.size() + kBlock, '\0');
    const auto size = decryptor.Update(ciphertext, plain.data());
    ASSERT_OK(size);
    const auto last = decryptor.Finish(plain.data() + *size);
    ASSERT_OK(last);
    EXPECT_EQ(plain.substr(0, *size + *last), "plaintext");
    ASSERT_OK(decryptor.Update("what is left of it does not matter", plain.data()));
    decryptor.Restart();
  }
}

TEST(DecryptSource, GivesBackThePlaintextAtEverySizeHoweverItIsCut) {
  for (const size_t key_size : {16, 32}) {
    const std::string key = PseudoRandomBytes(key_size, 7);
    for (const size_t size : {0, 1, 15, 16, 17, 65535, 65536, 65537, 3 << 20}) {
      const std::string plain = PseudoRandomBytes(size);
      for (const size_t max_piece : {size_t{50}, size_t{5000}, kMaxPieceSize}) {
        RandomCutSource ciphertext(Encrypt(key, plain), max_piece);
        PieceBudget budget;
        DecryptSource source(ciphertext, budget, std::nullopt, std::make_unique<CbcDecryptor>(key));
        const absl::StatusOr<std::string> decrypted = ReadAll(source, size + 1);
        ASSERT_OK(decrypted);
        ASSERT_TRUE(*decrypted == plain) << size << " " << max_piece;
        ASSERT_THAT(source.Read(), IsOkAndHolds(""));
      }
    }
  }
}

TEST(DecryptSource, ShowsAllPlaintextToItsObserverInSmallPartsHoweverItComes) {
  const std::string key = PseudoRandomBytes(16);
  const std::string plain = PseudoRandomBytes(3 << 20);
  RandomCutSource ciphertext(Encrypt(key, plain), kMaxPieceSize);
  PieceBudget budget;
  DecryptSource source(ciphertext, budget, std::nullopt, std::make_unique<CbcDecryptor>(key));
  std::string seen;
  size_t parts = 0;
  source.set_observer([&](absl::string_view part) {
    EXPECT_LE(part.size(), kHotSize);
    absl::StrAppend(&seen, part);
    ++parts;
  });
  EXPECT_THAT(ReadAll(source, plain.size()), IsOkAndHolds(plain));
  EXPECT_TRUE(seen == plain);
  EXPECT_EQ(parts, plain.size() / kHotSize);
}

TEST(DecryptSource, NeverYieldsMoreThanTheLargestPiece) {
  const std::string key = PseudoRandomBytes(16);
  StringSource ciphertext(Encrypt(key, PseudoRandomBytes(5 << 20)), kMaxPieceSize - 1);
  PieceBudget budget;
  DecryptSource source(ciphertext, budget, std::nullopt, std::make_unique<CbcDecryptor>(key));
  for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read()) {
    ASSERT_LE(piece.size(), kMaxPieceSize);
  }
}

// Nobody may learn from the answer what was wrong, else we are a padding oracle.
TEST(DecryptSource, RefusesAllWrongContentInOneWay) {
  const std::string key = PseudoRandomBytes(16);
  const std::string good = Encrypt(key, PseudoRandomBytes(100));
  const std::string zeros(2 * kBlock, '\0');
  const std::string wrong[] = {
      "",                                                    // Empty.
      good.substr(0, 1),                                     // Less than a block.
      good.substr(0, good.size() - 1),                       // No whole number of blocks.
      good + "x",                                            // The same.
      Encrypt(key, zeros, false),                            // Padding of size 0.
      Encrypt(key, zeros.substr(1) + '\x11', false),         // Padding of size 17.
      Encrypt(key, zeros.substr(1) + '\x02', false),         // Padding of unequal bytes.
      Encrypt(key, std::string(2 * kBlock, '\xFF'), false),  // Padding of size 255.
  };
  std::set<std::string> answers;
  for (const std::string& ciphertext : wrong) {
    const absl::Status status = Decrypt(key, ciphertext).status();
    ASSERT_THAT(status, HasReason(Reason::kContentRejected)) << ciphertext.size();
    answers.insert(status.ToString());
  }
  EXPECT_EQ(answers.size(), 1u);
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(DecryptSource, NeverGivesThePlaintextUnderAnotherKey) {
  const std::string plain = PseudoRandomBytes(100);
  const std::string ciphertext = Encrypt(PseudoRandomBytes(32, 1), plain);
  for (uint32_t seed = 2; seed < 100; ++seed) {
    const absl::StatusOr<std::string> decrypted = Decrypt(PseudoRandomBytes(32, seed), ciphertext);
    EXPECT_TRUE(!decrypted.ok() || *decrypted != plain) << seed;
  }
}

TEST(DecryptSource, PassesOnTheErrorOfItsSource) {
  StringSource bytes("0123456789abcdef");
  ExactSource ends_early(bytes, 32);
  PieceBudget budget;
  DecryptSource source(ends_early, budget, 32,
                       std::make_unique<CbcDecryptor>(PseudoRandomBytes(16)));
  EXPECT_THAT(source.Read(), HasReason(Reason::kInvalidField));
}

TEST(CbcDecryptorDeathTest, DiesOnAKeyOfAnotherSize) {
  EXPECT_DEATH(CbcDecryptor(std::string(24, 'k')), "key");
}

}  // namespace
}  // namespace backup::crypto
