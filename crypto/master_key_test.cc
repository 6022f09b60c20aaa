#include "crypto/master_key.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "crypto/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::StatusIs;

// "000102...1f", and its bytes.
constexpr char kHex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

class MasterKeyFileTest : public ::testing::Test {
 protected:
  MasterKeyFileTest()
      : folder_(absl::StrCat(::testing::TempDir(), "master_key_test.",
                             absl::BytesToHexString(RandomBytes(8)))),
        path_(folder_ + "/master.key") {
    std::filesystem::create_directory(folder_);
  }
  ~MasterKeyFileTest() override { std::filesystem::remove_all(folder_); }

  void WriteKeyFile(absl::string_view text, mode_t mode = 0600) const {
    std::ofstream(path_) << text;
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
  }
  std::string KeyFileText() const {
    std::ifstream in(path_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

  const std::string folder_;
  const std::string path_;
};

TEST_F(MasterKeyFileTest, IsMadeOnceForItsOwnerOnlyAndReadEverAfter) {
  const auto made = MasterKey::LoadOrCreate(path_);
  ASSERT_OK(made);
  struct stat info = {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_THAT(KeyFileText(), ::testing::MatchesRegex("[0-9a-f]{64}\n"));
  const auto again = MasterKey::LoadOrCreate(path_);
  ASSERT_OK(again);
  EXPECT_EQ((*again)->Fingerprint(), (*made)->Fingerprint());
  EXPECT_THAT((*again)->Open((*made)->Seal("secret", "context"), "context"),
              IsOkAndHolds("secret"));
}

TEST_F(MasterKeyFileTest, LeavesNothingBeside) {
  ASSERT_OK(MasterKey::LoadOrCreate(path_));
  const std::filesystem::directory_iterator files(folder_);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(MasterKeyFileTest, IsOneKeyForAllThatMakeItAtOnce) {
  std::vector<std::string> fingerprints(16);
  {
    std::vector<std::jthread> threads;
    for (std::string& fingerprint : fingerprints) {
      threads.emplace_back([&fingerprint, this] {
        const auto key = MasterKey::LoadOrCreate(path_);
        fingerprint = key.ok() ? (*key)->Fingerprint() : key.status().ToString();
      });
    }
  }
  const auto key = MasterKey::Load(path_);
  ASSERT_OK(key);
  EXPECT_THAT(fingerprints, ::testing::Each((*key)->Fingerprint()));
}

TEST_F(MasterKeyFileTest, IsReadFromHexDigitsOfEitherCase) {
  const std::string fingerprint = MasterKey(*HexToBytes(kHex)).Fingerprint();
  WriteKeyFile(absl::StrCat(kHex, "\n"));
  EXPECT_EQ(MasterKey::Load(path_).value()->Fingerprint(), fingerprint);
  WriteKeyFile("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\r\n", 0400);
  EXPECT_EQ(MasterKey::Load(path_).value()->Fingerprint(), fingerprint);
}

TEST_F(MasterKeyFileTest, IsNotMadeByLoad) {
  EXPECT_THAT(MasterKey::Load(path_), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(MasterKeyFileTest, IsRefusedIfOthersCanReadIt) {
  for (const mode_t mode : {0640, 0604, 0660, 0644, 0601}) {
    WriteKeyFile(absl::StrCat(kHex, "\n"), mode);
    const auto key = MasterKey::LoadOrCreate(path_);
    EXPECT_THAT(key, StatusIs(absl::StatusCode::kFailedPrecondition)) << mode;
    EXPECT_THAT(std::string(key.status().message()), ::testing::HasSubstr("chmod 600")) << mode;
  }
}

TEST_F(MasterKeyFileTest, IsRefusedAndLeftAloneIfMalformed) {
  const absl::string_view hex = kHex;
  const std::string malformed[] = {"",
                                   "\n",
                                   absl::StrCat(hex.substr(1), "\n"),
                                   absl::StrCat(hex, "0\n"),
                                   absl::StrCat("g", hex.substr(1), "\n"),
                                   absl::StrCat("0x", hex.substr(2), "\n"),
                                   absl::StrCat(hex, "\n\n\n"),
                                   absl::StrCat(hex, "\n", hex, "\n"),
                                   *HexToBytes(hex)};
  for (const std::string& text : malformed) {
    WriteKeyFile(text);
    EXPECT_THAT(MasterKey::LoadOrCreate(path_), StatusIs(absl::StatusCode::kFailedPrecondition))
        << text;
    EXPECT_EQ(KeyFileText(), text);
  }
}

TEST_F(MasterKeyFileTest, NeedsItsFolder) {
  EXPECT_THAT(MasterKey::LoadOrCreate(folder_ + "/missing/master.key"),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(MasterKeyFileTest, MayBeACredentialOfSystemd) {
  ::unsetenv("CREDENTIALS_DIRECTORY");
  const auto unset = MasterKey::LoadCredential("master.key");
  EXPECT_THAT(unset, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(unset.status().message()), ::testing::HasSubstr("LoadCredential="));
  ::setenv("CREDENTIALS_DIRECTORY", folder_.c_str(), 1);
  EXPECT_THAT(MasterKey::LoadCredential("master.key"), StatusIs(absl::StatusCode::kNotFound));
  // By a list of rights systemd lets the unit's user read it, which looks like the group's.
  WriteKeyFile(absl::StrCat(kHex, "\n"), 0440);
  EXPECT_EQ(MasterKey::LoadCredential("master.key").value()->Fingerprint(), "630dcd2966c43366");
  WriteKeyFile(absl::StrCat(kHex, "\n"), 0444);
  EXPECT_THAT(MasterKey::LoadCredential("master.key"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

// McGrew and Viega, The Galois/Counter Mode of Operation, test case 16.
TEST(MasterKey, OpensTheKnownVectorOfAes256Gcm) {
  const MasterKey key(
      *HexToBytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
  const std::string sealed = *HexToBytes(
      "cafebabefacedbaddecaf888"
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
      "76fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_THAT(
      key.Open(sealed, *HexToBytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")),
      IsOkAndHolds(*HexToBytes("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                               "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")));
}

TEST(MasterKey, OpensWhatItSealedAtEverySize) {
  const MasterKey key(PseudoRandomBytes(32));
  for (const size_t size : {0, 1, 16, 32, 1000}) {
    const std::string secret = PseudoRandomBytes(size);
    for (const std::string& context : {std::string(), std::string("client 7")}) {
      const std::string sealed = key.Seal(secret, context);
      EXPECT_EQ(sealed.size(), size + MasterKey::kOverhead);
      EXPECT_THAT(key.Open(sealed, context), IsOkAndHolds(secret)) << size;
    }
  }
}

TEST(MasterKey, NeverUsesANonceTwice) {
  const MasterKey key(PseudoRandomBytes(32));
  std::set<std::string> nonces;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(nonces.insert(key.Seal("secret", "").substr(0, 12)).second);
  }
}

TEST(MasterKey, OpensNothingThatWasChanged) {
  const MasterKey key(PseudoRandomBytes(32));
  const std::string sealed = key.Seal("a session key...", "client 7");
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    EXPECT_THAT(key.Open(changed, "client 7"), HasReason(Reason::kBlobDamaged)) << i;
    EXPECT_THAT(key.Open(sealed.substr(0, i), "client 7"), HasReason(Reason::kBlobDamaged)) << i;
  }
  EXPECT_THAT(key.Open(sealed + "x", "client 7"), HasReason(Reason::kBlobDamaged));
}

TEST(MasterKey, OpensNothingInAnotherContextOrUnderAnotherKey) {
  const MasterKey key(PseudoRandomBytes(32, 1));
  const MasterKey other(PseudoRandomBytes(32, 2));
  const std::string sealed = key.Seal("secret", "client 7");
  EXPECT_THAT(key.Open(sealed, "client 8"), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(key.Open(sealed, ""), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(other.Open(sealed, "client 7"), HasReason(Reason::kBlobDamaged));
}

// SHA-256 of the bytes 00 01 .. 1f begins so.
TEST(MasterKey, HasAFingerprintThatTellsKeysApart) {
  EXPECT_EQ(MasterKey(*HexToBytes(kHex)).Fingerprint(), "630dcd2966c43366");
  EXPECT_NE(MasterKey(PseudoRandomBytes(32)).Fingerprint(), "630dcd2966c43366");
}

}  // namespace
}  // namespace backup::crypto
