#include "crypto/key_ring.h"

#include <memory>
#include <string>

#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Optional;
using testing::PseudoRandomBytes;

constexpr char kContext[] = "client 7";

TEST(KeyRing, SealsAsTheMasterKeyDidUntilThereIsANewerGeneration) {
  const std::string key = PseudoRandomBytes(32, 1);
  const KeyRing ring(key);
  const MasterKey master_key(key);
  EXPECT_THAT(ring.newest(), Optional(0u));
  EXPECT_THAT(ring.Open(master_key.Seal("secret", kContext), kContext), IsOkAndHolds("secret"));
  EXPECT_THAT(master_key.Open(ring.Seal("secret", kContext), kContext), IsOkAndHolds("secret"));
  EXPECT_EQ(ring.GenerationOf(ring.Seal("secret", kContext), kContext), 0u);
}

TEST(KeyRing, SealsByTheNewestGenerationAndOpensWhatAnyHasSealed) {
  KeyRing ring(PseudoRandomBytes(32, 1));
  const std::string oldest = ring.Seal("oldest", kContext);
  ring.Add(7, PseudoRandomBytes(32, 2));
  const std::string middle = ring.Seal("middle", kContext);
  ring.Add(258, PseudoRandomBytes(32, 3));
  const std::string newest = ring.Seal("newest", kContext);
  EXPECT_EQ(newest.substr(0, 8), std::string("BKG1\x02\x01\0\0", 8));
  EXPECT_EQ(newest.size(), 6 + KeyRing::kMaxOverhead);
  EXPECT_EQ(ring.GenerationOf(oldest, kContext), 0u);
  EXPECT_EQ(ring.GenerationOf(middle, kContext), 7u);
  EXPECT_EQ(ring.GenerationOf(newest, kContext), 258u);
  EXPECT_THAT(ring.newest(), Optional(258u));
  EXPECT_THAT(ring.Open(oldest, kContext), IsOkAndHolds("oldest"));
  EXPECT_THAT(ring.Open(middle, kContext), IsOkAndHolds("middle"));
  EXPECT_THAT(ring.Open(newest, kContext), IsOkAndHolds("newest"));
}

TEST(KeyRing, OpensWhatWasSealedBeforeThereWereGenerationsWhateverItBeginsWith) {
  KeyRing ring(std::string(32, 'k'));
  ring.Add(1, PseudoRandomBytes(32, 2));
  // A nonce at random may be the header of a generation that there is, or is not.
  for (const char generation : {'\x01', '\x02'}) {
    const std::string nonce = std::string("BKG1") + generation + std::string("\0\0\0", 3) + "rand";
    Aead::Nonce bytes;
    std::copy(nonce.begin(), nonce.end(), bytes.begin());
    std::string sealed = nonce;
    Aead(std::string(32, 'k')).Seal(bytes, kContext, "a session key", sealed);
    EXPECT_THAT(ring.Open(sealed, kContext), IsOkAndHolds("a session key"));
    // Whoever lets generation 0 go has to know.
    EXPECT_EQ(ring.GenerationOf(sealed, kContext), 0u);
    ring.Remove(0);
    EXPECT_EQ(ring.GenerationOf(sealed, kContext), static_cast<uint32_t>(generation));
    ring.Add(0, std::string(32, 'k'));
  }
}

TEST(KeyRing, TellsTheGenerationThatSomethingNamesIfNoneOpensIt) {
  KeyRing ring(PseudoRandomBytes(32, 1));
  ring.Add(7, PseudoRandomBytes(32, 2));
  std::string sealed = ring.Seal("secret", kContext);
  EXPECT_EQ(ring.GenerationOf(sealed, "another"), 7u);
  sealed.back() ^= 1;
  EXPECT_EQ(ring.GenerationOf(sealed, kContext), 7u);
  EXPECT_EQ(KeyRing().GenerationOf(sealed, kContext), 7u);
  EXPECT_EQ(KeyRing().GenerationOf("short", kContext), 0u);
}

TEST(KeyRing, OpensNothingOfAGenerationThatIsGone) {
  KeyRing ring(PseudoRandomBytes(32, 1));
  const std::string oldest = ring.Seal("oldest", kContext);
  ring.Add(1, PseudoRandomBytes(32, 2));
  const std::string newer = ring.Seal("newer", kContext);
  ring.Add(2, PseudoRandomBytes(32, 3));
  ring.Remove(0);
  ring.Remove(1);
  ring.Remove(1);
  EXPECT_FALSE(ring.Has(0));
  EXPECT_FALSE(ring.Has(1));
  EXPECT_TRUE(ring.Has(2));
  EXPECT_EQ(ring.KeyOf(1), "");
  EXPECT_THAT(ring.Open(oldest, kContext), HasReason(Reason::kKeyMissing));
  EXPECT_THAT(ring.Open(newer, kContext), HasReason(Reason::kKeyMissing));
  EXPECT_THAT(ring.Open(ring.Seal("newest", kContext), kContext), IsOkAndHolds("newest"));
}

TEST(KeyRing, KnowsWhetherAllThatBeganBeforeHasEnded) {
  const KeyRing ring(PseudoRandomBytes(32, 1));
  EXPECT_TRUE(ring.HaveEnded(ring.NextUse()));
  EXPECT_EQ(ring.LongestUse(), absl::ZeroDuration());
  auto first = std::make_unique<KeyRing::Use>(ring);
  auto second = std::make_unique<KeyRing::Use>(ring);
  const uint64_t next = ring.NextUse();
  const KeyRing::Use later(ring);
  EXPECT_FALSE(ring.HaveEnded(next));
  EXPECT_GT(ring.LongestUse(), absl::ZeroDuration());
  // Whichever ends first.
  second = nullptr;
  EXPECT_FALSE(ring.HaveEnded(next));
  first = nullptr;
  EXPECT_TRUE(ring.HaveEnded(next)) << "what began since does not count";
  EXPECT_FALSE(ring.HaveEnded(ring.NextUse()));
}

TEST(KeyRing, OpensNothingThatWasChangedOrIsOfAnotherContext) {
  KeyRing ring(PseudoRandomBytes(32, 1));
  ring.Add(1, PseudoRandomBytes(32, 2));
  const std::string sealed = ring.Seal("a session key...", kContext);
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    // The bytes of the number that make it a large one: nobody knows whether there was such a key.
    const bool is_other_number = i > 4 && i < KeyRing::kHeaderSize;
    EXPECT_THAT(ring.Open(changed, kContext),
                HasReason(is_other_number ? Reason::kKeyMissing : Reason::kBlobDamaged))
        << i;
    EXPECT_THAT(ring.Open(sealed.substr(0, i), kContext), HasReason(Reason::kBlobDamaged)) << i;
  }
  EXPECT_THAT(ring.Open(sealed + "x", kContext), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(ring.Open(sealed, "client 8"), HasReason(Reason::kBlobDamaged));
}

TEST(KeyRing, SaysWhichGenerationIsMissing) {
  KeyRing sealing;
  sealing.Add(3, PseudoRandomBytes(32, 1));
  const std::string sealed = sealing.Seal("secret", kContext);
  KeyRing ring;
  ring.Add(2, PseudoRandomBytes(32, 1));
  const auto opened = ring.Open(sealed, kContext);
  EXPECT_THAT(opened, HasReason(Reason::kKeyMissing));
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("generation 3"));
  EXPECT_THAT(KeyRing().Open(sealed, kContext), HasReason(Reason::kKeyMissing));
  // The first, too, which nothing names.
  const auto first = ring.Open(KeyRing(PseudoRandomBytes(32, 3)).Seal("", kContext), kContext);
  EXPECT_THAT(first, HasReason(Reason::kKeyMissing));
  EXPECT_THAT(std::string(first.status().message()), HasSubstr("generation 0"));
  EXPECT_THAT(ring.Open("short", kContext), HasReason(Reason::kBlobDamaged));
}

TEST(KeyRing, DoesNotTakeAnotherGenerationsNumber) {
  KeyRing same_key;
  same_key.Add(3, PseudoRandomBytes(32, 2));
  const std::string sealed = same_key.Seal("secret", kContext);
  KeyRing ring;
  ring.Add(3, PseudoRandomBytes(32, 1));
  EXPECT_THAT(ring.Open(sealed, kContext), HasReason(Reason::kBlobDamaged));
  EXPECT_DEATH(ring.Add(3, PseudoRandomBytes(32, 2)), "");
}

}  // namespace
}  // namespace backup::crypto
