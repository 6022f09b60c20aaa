#include "storage/catalog/legacy_profile.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::storage {
namespace {

using ::testing::ElementsAre;
using Kind = ChecksumKind;

// What is answered while the client refuses everything.
std::vector<Kind> Candidates(Kind first, int count) {
  LegacyProfile profile;
  std::vector<Kind> kinds;
  for (int i = 0; i < count; ++i) {
    kinds.push_back(profile.NextChecksum(first));
    profile.Learn(Outcome::kRetrying, kinds.back());
  }
  return kinds;
}

TEST(LegacyProfile, TriesEveryCandidateBeginningWithTheFirst) {
  EXPECT_THAT(
      Candidates(Kind::kCksumOfPlaintext, 5),
      ElementsAre(Kind::kCksumOfPlaintext, Kind::kCksumOfCiphertext, Kind::kCrc32OfPlaintext,
                  Kind::kCrc32OfCiphertext, Kind::kCksumOfPlaintext));
  EXPECT_THAT(Candidates(Kind::kCrc32OfPlaintext, 4),
              ElementsAre(Kind::kCrc32OfPlaintext, Kind::kCksumOfPlaintext,
                          Kind::kCksumOfCiphertext, Kind::kCrc32OfCiphertext));
}

TEST(LegacyProfile, KeepsTheConfirmedKindThroughRetries) {
  LegacyProfile profile;
  profile.Learn(Outcome::kRetrying, Kind::kCksumOfPlaintext);
  profile.Learn(Outcome::kVerified, Kind::kCksumOfCiphertext);
  profile.Learn(Outcome::kRetrying, Kind::kCksumOfCiphertext);
  EXPECT_EQ(profile.NextChecksum(Kind::kCksumOfPlaintext), Kind::kCksumOfCiphertext);
}

TEST(LegacyProfile, GoesOnWithTheOthersOnceTheClientHasGivenUp) {
  LegacyProfile profile;
  profile.Learn(Outcome::kVerified, Kind::kCksumOfCiphertext);
  profile.Learn(Outcome::kAbandoned, Kind::kCksumOfCiphertext);
  EXPECT_FALSE(profile.checksum_kind.has_value());
  EXPECT_EQ(profile.NextChecksum(Kind::kCksumOfPlaintext), Kind::kCksumOfCiphertext);
  profile.Learn(Outcome::kRetrying, Kind::kCksumOfCiphertext);
  EXPECT_EQ(profile.NextChecksum(Kind::kCksumOfPlaintext), Kind::kCrc32OfPlaintext);
}

TEST(LegacyProfile, MergesWhatIsKnownAndSaysWhetherItIsNew) {
  LegacyProfile profile;
  profile.Learn(Outcome::kVerified, Kind::kCrc32OfCiphertext);
  LegacyProfile observed;
  EXPECT_FALSE(profile.Merge(observed));
  observed.family = "A/B";
  observed.header_version = 3;
  EXPECT_TRUE(profile.Merge(observed));
  EXPECT_FALSE(profile.Merge(observed));
  LegacyProfile later;
  later.framing = "blocks";
  EXPECT_TRUE(profile.Merge(later));
  EXPECT_EQ(profile.family, "A/B");
  EXPECT_EQ(profile.framing, "blocks");
  EXPECT_EQ(profile.checksum_kind, Kind::kCrc32OfCiphertext);
}

}  // namespace
}  // namespace backup::storage
