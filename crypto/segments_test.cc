#include "crypto/segments.h"

#include <openssl/evp.h>

#include <memory>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;

const std::string kKey(32, 'k');

// AES-CBC with a zero IV, and PKCS#7 padding unless `padded` is false.
std::string Encrypt(absl::string_view plain, bool padded = true) {
  const unsigned char zero_iv[16] = {};
  std::string out(plain.size() + 16, '\0');
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_aes_256_cbc(), nullptr,
                     reinterpret_cast<const unsigned char*>(kKey.data()), zero_iv);
  EVP_CIPHER_CTX_set_padding(context, padded ? 1 : 0);
  auto* const bytes = reinterpret_cast<unsigned char*>(out.data());
  int size = 0;
  int last = 0;
  EVP_EncryptUpdate(context, bytes, &size, reinterpret_cast<const unsigned char*>(plain.data()),
                    static_cast<int>(plain.size()));
  EVP_EncryptFinal_ex(context, bytes + size, &last);
  EVP_CIPHER_CTX_free(context);
  out.resize(static_cast<size_t>(size + last));
  return out;
}

std::string Segment(absl::string_view ciphertext) {
  std::string out;
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<char>(ciphertext.size() >> shift));
  return out.append(ciphertext.data(), ciphertext.size());
}

absl::StatusOr<std::string> Decrypt(const std::string& segments, int count, size_t max_piece,
                                    uint32_t seed) {
  testing::RandomCutSource source(segments, max_piece, seed);
  PieceBudget budget;
  DecryptSource plain(source, budget, std::nullopt,
                      std::make_unique<SegmentDecryptor>(kKey, count));
  return ReadAll(plain, 1 << 20);
}

TEST(SegmentDecryptor, JoinsThePlaintextsHoweverThePiecesAreCut) {
  const std::vector<std::string> plains = {testing::PseudoRandomBytes(1024), "",
                                           testing::PseudoRandomBytes(15),
                                           testing::PseudoRandomBytes(40'000)};
  std::string segments;
  std::string expected;
  for (const std::string& plain : plains) {
    segments += Segment(Encrypt(plain));
    expected += plain;
  }
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    for (const size_t max_piece : {size_t{3}, size_t{50'000}}) {
      EXPECT_EQ(Decrypt(segments, 4, max_piece, seed).value(), expected);
      EXPECT_EQ(Decrypt(segments, 0, max_piece, seed).value(), expected);
    }
  }
}

TEST(SegmentDecryptor, SumsTheCiphertextWithoutTheSizes) {
  const std::string first = Encrypt("first");
  const std::string second = Encrypt("second segment, of two blocks");
  SegmentDecryptor decryptor(kKey, 2, {Cksum(), Crc32()});
  const std::string segments = Segment(first) + Segment(second);
  std::string plain(segments.size() + kCipherBlockSize, '\0');
  ASSERT_OK(decryptor.Update(segments, plain.data()));
  ASSERT_OK(decryptor.Finish(plain.data()));
  Checksums expected{Cksum(), Crc32()};
  expected.Update(first + second);
  EXPECT_EQ(decryptor.ciphertext_size(), static_cast<int64_t>(first.size() + second.size()));
  EXPECT_EQ(decryptor.ciphertext_sums().crc32->Value(), expected.crc32->Value());
  EXPECT_EQ(decryptor.ciphertext_sums().cksum->Value(), expected.cksum->Value());
}

TEST(SegmentDecryptor, WantsEverySegmentWholeAndNoOther) {
  const std::string two = Segment(Encrypt("one")) + Segment(Encrypt("two"));
  for (size_t size = 0; size < two.size(); ++size) {
    EXPECT_THAT(Decrypt(two.substr(0, size), 2, 100, 1), HasReason(Reason::kInvalidField)) << size;
  }
  EXPECT_THAT(Decrypt(two, 1, 100, 1), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Decrypt(two, 3, 100, 1), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Decrypt("", 0, 100, 1), HasReason(Reason::kInvalidField));
}

TEST(SegmentDecryptor, RejectsASegmentThatCannotBeDecrypted) {
  for (const std::string& bad :
       {std::string(), std::string(15, 'x'), std::string(32, 'x'), Encrypt("a") + "b"}) {
    EXPECT_THAT(Decrypt(Segment(bad) + Segment(Encrypt("good")), 2, 100, 1),
                HasReason(Reason::kContentRejected))
        << bad.size();
  }
}

TEST(SegmentDecryptor, TakesAnotherPaddingAndVectorOfEachSegment) {
  const CbcFormat format{.initial_vector = CbcFormat::InitialVector::kInFront,
                         .padding = CbcFormat::Padding::kZeros};
  SegmentDecryptor decryptor(kKey, 3, {}, format);
  const std::string blocks = testing::PseudoRandomBytes(48);
  const std::string segments = Segment(Encrypt(std::string(16, 'v') + blocks, false)) +
                               Segment(Encrypt(std::string(16, 'w'), false)) +
                               Segment(Encrypt(std::string(16, 'x') + blocks, false));
  std::string plain(segments.size() + kCipherBlockSize, '\0');
  const auto size = decryptor.Update(segments, plain.data());
  ASSERT_OK(size);
  EXPECT_OK(decryptor.Finish(plain.data()));
  EXPECT_EQ(plain.substr(0, *size), blocks + blocks);
}

using InitialVector = CbcFormat::InitialVector;
using Padding = CbcFormat::Padding;

// Segments of one size, each encrypted on its own, and their plaintext.
class EqualSegmentsTest
    : public ::testing::TestWithParam<std::tuple<InitialVector, Padding, int64_t>> {
 protected:
  CbcFormat format() const {
    const auto [vector, padding, size] = GetParam();
    return {CbcFormat::Cut::kEqualSegments, vector, padding, size};
  }
  // Segments that hold `plain`.
  std::string Encrypted(const std::string& plain) const {
    const size_t vector_size = format().initial_vector == InitialVector::kInFront ? 16 : 0;
    const bool pkcs7 = format().padding != Padding::kZeros;
    // As much as fills a segment, and as a full block of PKCS#7 leaves in it.
    const size_t step = static_cast<size_t>(format().segment_size) - vector_size - (pkcs7 ? 16 : 0);
    std::string out;
    for (size_t at = 0; at < plain.size(); at += step) {
      const std::string vector = testing::PseudoRandomBytes(vector_size, static_cast<uint32_t>(at));
      out += Encrypt(vector + plain.substr(at, step), pkcs7);
    }
    return out;
  }
  absl::StatusOr<std::string> Decrypted(const std::string& segments, size_t max_piece = 1000,
                                        uint32_t seed = 1) const {
    testing::RandomCutSource source(segments, max_piece, seed);
    PieceBudget budget;
    const auto size = std::ssize(segments);
    DecryptSource plain(source, budget, size,
                        std::make_unique<EqualSegmentDecryptor>(kKey, format(), size));
    return ReadAll(plain, 1 << 20);
  }
};

TEST_P(EqualSegmentsTest, AreJoinedHoweverThePiecesAreCut) {
  for (const size_t size : {16, 32, 48, 96, 4096, 30'000, 100'000}) {
    const std::string plain = testing::PseudoRandomBytes(size - size % 16);
    const std::string segments = Encrypted(plain);
    for (const size_t max_piece : {size_t{1}, size_t{40}, size_t{50'000}}) {
      for (uint32_t seed = 1; seed <= 3; ++seed) {
        const auto decrypted = Decrypted(segments, max_piece, seed);
        ASSERT_OK(decrypted);
        EXPECT_TRUE(*decrypted == plain) << size << " " << max_piece;
      }
    }
  }
}

TEST_P(EqualSegmentsTest, AreRefusedIfTheyAreNoWholeBlocks) {
  const std::string segments = Encrypted(testing::PseudoRandomBytes(960));
  for (const size_t missing : {1, 15}) {
    EXPECT_EQ(Decrypted(segments.substr(0, segments.size() - missing)).status(), NoWholeBlocks());
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, EqualSegmentsTest,
                         ::testing::Combine(::testing::Values(InitialVector::kZero,
                                                              InitialVector::kInFront),
                                            ::testing::Values(Padding::kPkcs7, Padding::kZeros,
                                                              Padding::kPkcs7AndSurplus),
                                            ::testing::Values(48, 64, 1024, 65536)));

CbcFormat EqualSegments(int64_t size, Padding padding = Padding::kPkcs7,
                        InitialVector vector = InitialVector::kZero) {
  return {CbcFormat::Cut::kEqualSegments, vector, padding, size};
}

// What becomes of segments that come in one piece.
absl::StatusOr<std::string> DecryptAs(const CbcFormat& format, const std::string& segments,
                                      int64_t size_bytes) {
  EqualSegmentDecryptor decryptor(kKey, format, size_bytes);
  std::string plain(segments.size() + kCipherBlockSize, '\0');
  ASSIGN_OR_RETURN(const size_t size, decryptor.Update(segments, plain.data()));
  RETURN_IF_ERROR(decryptor.Finish(plain.data() + size).status());
  return plain.substr(0, size);
}
absl::StatusOr<std::string> DecryptAs(const CbcFormat& format, const std::string& segments) {
  return DecryptAs(format, segments, std::ssize(segments));
}

// As the client does that encrypts each 16 bytes on their own.
TEST(EqualSegmentDecryptor, TakesAsMuchPaddingAsEachSegmentHas) {
  const std::string segments =
      Encrypt("0123456789abcdef") + Encrypt("0123456789abcdef") + Encrypt("end");
  EXPECT_EQ(DecryptAs(EqualSegments(32), segments).value(), "0123456789abcdef0123456789abcdefend");
}

TEST(EqualSegmentDecryptor, RejectsASegmentThatCannotBeDecrypted) {
  const std::string good = Encrypt("0123456789abcdef");
  const std::string zeros(32, '\0');
  const std::string bad[] = {
      "",                                               // None at all.
      good + std::string(32, 'x') + good,               // Noise.
      Encrypt(zeros, false) + good,                     // Padding of size 0.
      good + Encrypt(zeros.substr(1) + '\x11', false),  // Of size 17.
      good + Encrypt(zeros.substr(1) + '\x02', false),  // Of unequal bytes.
  };
  for (const std::string& segments : bad)
    EXPECT_EQ(DecryptAs(EqualSegments(32), segments).status(), ContentRejected());
  EXPECT_EQ(DecryptAs(EqualSegments(32), good, 64).status(), ContentRejected());
  EXPECT_EQ(DecryptAs(EqualSegments(32), good + good, 32).status(), ContentRejected());
}

TEST(EqualSegmentDecryptor, RejectsWhatHasNoRoomForItsVector) {
  const CbcFormat format = EqualSegments(48, Padding::kPkcs7, InitialVector::kInFront);
  const std::string good = Encrypt(std::string(16, 'v') + "0123456789abcdef");
  EXPECT_EQ(DecryptAs(format, good).value(), "0123456789abcdef");
  EXPECT_EQ(DecryptAs(format, good + std::string(16, 'v')).status(), TooShortForItsVector());
  EXPECT_EQ(DecryptAs(format, "").status(), TooShortForItsVector());
  EXPECT_EQ(DecryptAs(format, good + good.substr(0, 20)).status(), NoWholeBlocks());
}

TEST(EqualSegmentDecryptor, MayBeOfNothingThatWasFilledUpWithZeros) {
  EXPECT_EQ(DecryptAs(EqualSegments(32, Padding::kZeros), "").value(), "");
}

}  // namespace
}  // namespace backup::crypto
