#include "crypto/key_generations.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using ::testing::AllOf;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::StatusIs;

const absl::Time kTime = absl::FromUnixSeconds(1'764'446'400);

std::unique_ptr<MasterKey> Key(unsigned seed) {
  return std::make_unique<MasterKey>(PseudoRandomBytes(32, seed));
}

std::vector<KeyGeneration> TwoGenerations(const MasterKey& master_key) {
  return {WrapGeneration(0, kTime, PseudoRandomBytes(32, 10), master_key),
          WrapGeneration(5, kTime + absl::Seconds(1), PseudoRandomBytes(32, 11), master_key)};
}

TEST(KeyGenerations, OpenUnderTheirMasterKeyAndAsWhatTheyAre) {
  const KeyGeneration generation = WrapGeneration(5, kTime, std::string(32, 'g'), *Key(1));
  EXPECT_THAT(UnwrapGeneration(generation, *Key(1)), IsOkAndHolds(std::string(32, 'g')));
  EXPECT_THAT(UnwrapGeneration(generation, *Key(2)), HasReason(Reason::kBlobDamaged));
  KeyGeneration other = generation;
  other.number = 6;
  EXPECT_THAT(UnwrapGeneration(other, *Key(1)), HasReason(Reason::kBlobDamaged));
  other = generation;
  other.create_time += absl::Seconds(1);
  EXPECT_THAT(UnwrapGeneration(other, *Key(1)), HasReason(Reason::kBlobDamaged));
}

TEST(KeyGenerations, AreTextAndBack) {
  const std::vector<KeyGeneration> generations = TwoGenerations(*Key(1));
  EXPECT_THAT(ParseGenerations(EncodeGenerations(generations)), IsOkAndHolds(generations));
  EXPECT_THAT(ParseGenerations(EncodeGenerations({})), IsOkAndHolds(std::vector<KeyGeneration>()));
}

TEST(KeyGenerations, AreRefusedIfTheirTextWasChangedOrCut) {
  const std::string text = EncodeGenerations(TwoGenerations(*Key(1)));
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] ^= 1;
    EXPECT_THAT(ParseGenerations(changed), HasReason(Reason::kStateCorrupt)) << i;
    EXPECT_THAT(ParseGenerations(text.substr(0, i)), HasReason(Reason::kStateCorrupt)) << i;
  }
  EXPECT_THAT(ParseGenerations(text + "\n"), HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(ParseGenerations(std::string(1 << 20, ' ')), HasReason(Reason::kStateCorrupt));
}

TEST(KeyGenerations, AreRefusedIfTheyAreNotInOrder) {
  std::vector<KeyGeneration> generations = TwoGenerations(*Key(1));
  std::swap(generations[0], generations[1]);
  EXPECT_THAT(ParseGenerations(EncodeGenerations(generations)), HasReason(Reason::kStateCorrupt));
}

TEST(KeyGenerations, OpenUnderAnyOfTheMasterKeys) {
  std::vector<KeyGeneration> generations = TwoGenerations(*Key(1));
  generations.push_back(WrapGeneration(6, kTime, std::string(32, 'n'), *Key(2)));
  MasterKeys keys;
  keys.current = Key(2);
  keys.origin = "/new.key";
  KeyRing refused;
  const absl::Status missing = AddGenerations(generations, keys, refused);
  EXPECT_THAT(missing, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr("generation 0 is sealed under another master key"),
                    HasSubstr("/new.key"), HasSubstr("--old_master_key_file")));
  keys.old.push_back(Key(1));
  KeyRing ring;
  ASSERT_OK(AddGenerations(generations, keys, ring));
  EXPECT_EQ(ring.KeyOf(0), PseudoRandomBytes(32, 10));
  EXPECT_EQ(ring.KeyOf(5), PseudoRandomBytes(32, 11));
  EXPECT_EQ(ring.KeyOf(6), std::string(32, 'n'));
  EXPECT_EQ(ring.KeyOf(1), "");
}

class GenerationsFileTest : public ::testing::Test {
 protected:
  GenerationsFileTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "key_generations_test.XXXXXX");
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/key.generations";
  }
  ~GenerationsFileTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string path_;
};

TEST_F(GenerationsFileTest, IsItsOwnersAloneAndReplacedAsAWhole) {
  EXPECT_THAT(ReadGenerationsFile(path_), StatusIs(absl::StatusCode::kNotFound));
  ASSERT_OK(WriteGenerationsFile(path_, "first, which is longer"));
  // What a crash left beside it is in nobody's way.
  std::ofstream(path_ + ".new") << "half of somethi";
  ASSERT_OK(WriteGenerationsFile(path_, "second"));
  EXPECT_THAT(ReadGenerationsFile(path_), IsOkAndHolds("second"));
  struct stat info = {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(GenerationsFileTest, StaysAsItIsIfItCannotBeReplaced) {
  ASSERT_OK(WriteGenerationsFile(path_, "first"));
  std::filesystem::create_directory(path_ + ".new");
  EXPECT_FALSE(WriteGenerationsFile(path_, "second").ok());
  EXPECT_THAT(ReadGenerationsFile(path_), IsOkAndHolds("first"));
}

}  // namespace
}  // namespace backup::crypto
