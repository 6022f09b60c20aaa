#include "services/backup/open_storage.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::StatusIs;

class OpenStorageTest : public ::testing::Test {
 protected:
  OpenStorageTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "open_storage_test.XXXXXX");
    folder_ = mkdtemp(pattern.data());
  }
  ~OpenStorageTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777;
}

TEST_F(OpenStorageTest, MakesAFolderForItsOwnerOnlyHoweverItIsWritten) {
  for (const char* name : {"/plain", "/slash/", "/slashes//", "/deep/er/data/"}) {
    const std::string path = absl::StrCat(folder_, name);
    ASSERT_OK(OpenStorage(path, {}));
    EXPECT_EQ(ModeOf(path), 0700u) << path;
    EXPECT_EQ(ModeOf(path + "/master.key"), 0600u);
  }
}

TEST_F(OpenStorageTest, KeepsEverythingForTheNextProcess) {
  const std::string path = folder_ + "/data";
  std::string fingerprint;
  {
    const auto storage = OpenStorage(path, {});
    ASSERT_OK(storage);
    fingerprint = storage->master_keys.current->Fingerprint();
    ASSERT_OK(storage->catalog->Run([](storage::Transaction& transaction) {
      return transaction.RegisterClient("laptop", ClientId(), storage::DuplicateNames::kReject,
                                        absl::Now());
    }));
  }
  const auto storage = OpenStorage(path, {});
  ASSERT_OK(storage);
  EXPECT_EQ(storage->master_keys.current->Fingerprint(), fingerprint);
  EXPECT_OK(storage->catalog->Read(
      [](storage::Snapshot& snapshot) { return snapshot.FindClientByName("laptop"); }));
}

TEST_F(OpenStorageTest, LetsOnlyOneHoldADataDirectory) {
  const std::string path = folder_ + "/data";
  const auto first = OpenStorage(path, {});
  ASSERT_OK(first);
  EXPECT_THAT(OpenStorage(path, {}).status(), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(OpenStorageTest, TakesTheMasterKeyFromWhereItIsTold) {
  const std::string key_file = folder_ + "/elsewhere.key";
  KeySources keys;
  keys.master_key_file = key_file;
  ASSERT_OK(OpenStorage(folder_ + "/data", keys));
  EXPECT_TRUE(std::filesystem::exists(key_file));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/data/master.key"));
}

// Nobody may take it for a new one then, and make a key.
TEST_F(OpenStorageTest, IsRefusedIfNobodyCanTellWhetherThereAreKeys) {
  KeySources keys;
  keys.generations_file = std::string(5000, 'x');
  EXPECT_FALSE(OpenStorage(folder_ + "/data", keys).ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/data/master.key"));
}

}  // namespace
}  // namespace backup
