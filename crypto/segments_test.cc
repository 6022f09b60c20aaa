#include "crypto/segments.h"

#include <openssl/evp.h>

#include <vector>

#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;

const std::string kKey(32, 'k');

std::string Encrypt(absl::string_view plain) {
  const unsigned char zero_iv[16] = {};
  std::string out(plain.size() + 16, '\0');
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_aes_256_cbc(), nullptr,
                     reinterpret_cast<const unsigned char*>(kKey.data()), zero_iv);
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
  DecryptSource<SegmentDecryptor> plain(source, budget, std::nullopt, kKey, count);
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

}  // namespace
}  // namespace backup::crypto
