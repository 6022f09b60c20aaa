#include "crypto/sealed_file.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "crypto/master_key.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;

constexpr size_t kSegment = static_cast<size_t>(kSegmentSize);
constexpr size_t kSealedSegment = kSegment + static_cast<size_t>(kTagSize);
constexpr size_t kSizes[] = {0,
                             1,
                             15,
                             16,
                             17,
                             kSegment - 1,
                             kSegment,
                             kSegment + 1,
                             2 * kSegment,
                             16 * kSegment,
                             16 * kSegment + 1,
                             3 << 20};

std::string FileKey() { return PseudoRandomBytes(kFileKeySize, 99); }

std::string Seal(const std::string& plain, size_t max_piece = kPieceSize) {
  RandomCutSource source(plain, max_piece);
  SealSource seal(source, FileKey());
  return ReadAll(seal, plain.size() * 2 + 100).value();
}

absl::StatusOr<std::string> UnsealRange(const std::string& sealed, size_t plaintext_size,
                                        size_t offset, size_t size) {
  const StringAccess payload(sealed);
  PieceBudget budget;
  UnsealSource source(payload, budget, FileKey(), static_cast<int64_t>(plaintext_size),
                      static_cast<int64_t>(offset), static_cast<int64_t>(size));
  return ReadAll(source, size);
}

absl::StatusOr<std::string> Unseal(const std::string& sealed, size_t plaintext_size) {
  return UnsealRange(sealed, plaintext_size, 0, plaintext_size);
}

TEST(SealedFile, GivesBackThePlaintextAtEverySizeHoweverItIsCut) {
  for (const size_t size : kSizes) {
    const std::string plain = PseudoRandomBytes(size);
    const std::string sealed = Seal(plain);
    ASSERT_EQ(static_cast<int64_t>(sealed.size()), SealedSize(static_cast<int64_t>(size))) << size;
    for (const size_t max_piece : {size_t{100}, size_t{70000}, kMaxPieceSize}) {
      ASSERT_TRUE(Seal(plain, max_piece) == sealed) << size << " " << max_piece;
    }
    const absl::StatusOr<std::string> unsealed = Unseal(sealed, size);
    ASSERT_OK(unsealed);
    ASSERT_TRUE(*unsealed == plain) << size;
  }
}

TEST(SealedFile, HasATagForEachSegmentAndOneEvenWhenEmpty) {
  EXPECT_EQ(SealedSize(0), 16);
  EXPECT_EQ(SealedSize(1), 17);
  EXPECT_EQ(SealedSize(65536), 65536 + 16);
  EXPECT_EQ(SealedSize(65537), 65537 + 32);
}

// A sealed master-key secret is a nonce, the ciphertext and the tag; so it can stand in for the
// stated construction.
TEST(SealedFile, NumbersItsSegmentsInTheNonceAndMarksTheLast) {
  const MasterKey reference(FileKey());
  const std::string plain = PseudoRandomBytes(2 * kSegment + 5);
  const std::string sealed = Seal(plain);
  const std::string nonces[] = {std::string(12, '\0'), std::string("\0\0\0\0\0\0\0\1\0\0\0\0", 12),
                                std::string("\0\0\0\0\0\0\0\2\1\0\0\0", 12)};
  for (size_t i = 0; i < 3; ++i) {
    const auto opened =
        reference.Open(nonces[i] + sealed.substr(i * kSealedSegment, kSealedSegment), "");
    ASSERT_OK(opened) << i;
    EXPECT_TRUE(*opened == plain.substr(i * kSegment, kSegment)) << i;
  }
  EXPECT_THAT(reference.Open(std::string("\0\0\0\0\0\0\0\0\1\0\0\0", 12) + Seal(""), ""),
              IsOkAndHolds(""));
}

TEST(SealSource, EndsForEverAndYieldsNoPieceThatIsTooLarge) {
  StringSource plain(PseudoRandomBytes(9 << 20), kMaxPieceSize);
  SealSource source(plain, FileKey());
  size_t largest = 0;
  for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read()) {
    largest = std::max(largest, piece.size());
  }
  EXPECT_LE(largest, kMaxPieceSize);
  EXPECT_GE(largest, kPieceSize);
  EXPECT_THAT(source.Read(), IsOkAndHolds(""));
}

TEST(SealSource, PassesOnTheErrorOfItsSource) {
  StringSource bytes("short");
  ExactSource ends_early(bytes, 6);
  SealSource source(ends_early, FileKey());
  EXPECT_THAT(source.Read(), HasReason(Reason::kInvalidField));
}

TEST(UnsealSource, ReadsAnyRange) {
  constexpr size_t kSize = 20 * kSegment + 321;
  const std::string plain = PseudoRandomBytes(kSize);
  const std::string sealed = Seal(plain);
  const size_t edges[] = {0,
                          1,
                          kSegment - 1,
                          kSegment,
                          kSegment + 1,
                          16 * kSegment - 1,
                          16 * kSegment,
                          17 * kSegment + 5,
                          20 * kSegment,
                          kSize - 1,
                          kSize};
  for (const size_t begin : edges) {
    for (const size_t end : edges) {
      if (end < begin) continue;
      const auto range = UnsealRange(sealed, kSize, begin, end - begin);
      ASSERT_OK(range) << begin << " " << end;
      ASSERT_TRUE(*range == plain.substr(begin, end - begin)) << begin << " " << end;
    }
  }
}

TEST(UnsealSource, IgnoresWhatLiesBehindThePayload) {
  const std::string plain = PseudoRandomBytes(kSegment + 9);
  EXPECT_THAT(Unseal(Seal(plain) + "a footer", plain.size()), IsOkAndHolds(plain));
}

TEST(UnsealSource, RefusesAChangeAnywhere) {
  const size_t size = 2 * kSegment + 100;
  const std::string sealed = Seal(PseudoRandomBytes(size));
  for (size_t i = 0; i < sealed.size(); i += 5003) {
    std::string changed = sealed;
    changed[i] ^= 0x40;
    EXPECT_THAT(Unseal(changed, size), HasReason(Reason::kBlobDamaged)) << i;
  }
  for (const size_t from_end : {1, 16, 17, 116}) {
    std::string changed = sealed;
    changed[changed.size() - from_end] ^= 1;
    EXPECT_THAT(Unseal(changed, size), HasReason(Reason::kBlobDamaged)) << from_end;
  }
}

TEST(UnsealSource, StillReadsARangeThatAChangeElsewhereDoesNotTouch) {
  const std::string plain = PseudoRandomBytes(3 * kSegment);
  std::string changed = Seal(plain);
  changed[kSealedSegment + 7] ^= 1;
  EXPECT_THAT(UnsealRange(changed, plain.size(), 0, kSegment),
              IsOkAndHolds(plain.substr(0, kSegment)));
  EXPECT_THAT(UnsealRange(changed, plain.size(), 0, kSegment + 1), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(UnsealRange(changed, plain.size(), 2 * kSegment, kSegment),
              IsOkAndHolds(plain.substr(2 * kSegment)));
}

TEST(UnsealSource, RefusesSegmentsThatAreReorderedDroppedOrSpliced) {
  const size_t size = 3 * kSegment;
  const std::string sealed = Seal(PseudoRandomBytes(size, 1));
  const std::string other = Seal(PseudoRandomBytes(size, 2));
  const auto segment = [](const std::string& from, size_t i) {
    return from.substr(i * kSealedSegment, kSealedSegment);
  };
  ASSERT_OK(Unseal(segment(sealed, 0) + segment(sealed, 1) + segment(sealed, 2), size));
  EXPECT_THAT(Unseal(segment(sealed, 1) + segment(sealed, 0) + segment(sealed, 2), size),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 0) + segment(sealed, 0) + segment(sealed, 2), size),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 0) + segment(sealed, 1), 2 * kSegment),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 0) + segment(sealed, 2), 2 * kSegment),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(segment(sealed, 1) + segment(sealed, 2), 2 * kSegment),
              HasReason(Reason::kBlobDamaged));
}

TEST(UnsealSource, RefusesAPayloadThatIsCutShortOrOfAnotherSize) {
  const size_t size = 2 * kSegment + 100;
  const std::string sealed = Seal(PseudoRandomBytes(size));
  for (const size_t left : {size_t{0}, size_t{1}, kSealedSegment, sealed.size() - 1}) {
    EXPECT_THAT(Unseal(sealed.substr(0, left), size), HasReason(Reason::kBlobDamaged)) << left;
  }
  EXPECT_THAT(Unseal(sealed, size - 1), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(sealed, size + 1), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Unseal(sealed, kSegment), HasReason(Reason::kBlobDamaged));
}

TEST(UnsealSource, RefusesAnotherKey) {
  const StringAccess payload(Seal("content"));
  PieceBudget budget;
  UnsealSource source(payload, budget, PseudoRandomBytes(kFileKeySize, 1), 7, 0, 7);
  EXPECT_THAT(source.Read(), HasReason(Reason::kBlobDamaged));
}

TEST(UnsealSourceDeathTest, DiesOnARangeOutsideThePlaintext) {
  const StringAccess payload(Seal("content"));
  PieceBudget budget;
  EXPECT_DEATH(UnsealSource(payload, budget, FileKey(), 7, 5, 3), "plaintext_size");
}

}  // namespace
}  // namespace backup::crypto
