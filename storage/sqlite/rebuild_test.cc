#include "storage/sqlite/rebuild.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

constexpr int64_t kPlenty = int64_t{1} << 60;

// A catalog of an older version, in a folder whose name is special in SQL.
class RebuildTest : public ::testing::Test {
 protected:
  RebuildTest() {
    std::filesystem::create_directory(folder_.path() + "/it's");
    const auto old = Open();
    EXPECT_OK(old->Execute("PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL"));
    EXPECT_OK(Migrate(*old));
    EXPECT_OK(old->Execute("UPDATE totals SET next_version_id = 77"));
  }

  std::unique_ptr<Database> Open() const {
    return Database::Open(path_, Database::Mode::kReadWrite).value();
  }
  void RebuildIt(int64_t max_bytes = kPlenty, int64_t spare_bytes = 0) {
    Rebuild(path_, Open(), max_bytes, spare_bytes);
    EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
  }
  bool IsOld() const { return NeedsRebuild(*Open()).value(); }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/it's/catalog.db";
};

TEST_F(RebuildTest, MakesACatalogThatGivesRoomBackAndHasAllThatWasThere) {
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  ASSERT_TRUE(IsOld());
  RebuildIt();
  EXPECT_FALSE(IsOld());
  EXPECT_EQ(std::filesystem::status(path_).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto catalog = SqliteCatalog::Open(path_).value();
  EXPECT_THAT(
      catalog->Run([](Transaction& transaction) { return transaction.ReserveVersionIds(1); }),
      testing::IsOkAndHolds(77));
}

TEST_F(RebuildTest, IsDoneByWhoOpensTheCatalog) {
  ASSERT_OK(SqliteCatalog::Open(path_));
  EXPECT_FALSE(IsOld());
}

TEST_F(RebuildTest, LeavesTheCatalogAsItIsWithoutRoomForACopy) {
  RebuildIt(kPlenty, kPlenty);
  EXPECT_TRUE(IsOld());
}

TEST_F(RebuildTest, LeavesTheCatalogAsItIsWhileAnotherProgramReadsIt) {
  const auto shell = Database::Open(path_, Database::Mode::kReadOnly).value();
  ASSERT_OK(shell->Begin(Database::Mode::kReadOnly));
  ASSERT_OK(shell->Prepare("SELECT * FROM totals").Step());
  RebuildIt();
  EXPECT_TRUE(IsOld());
  ASSERT_OK(shell->Commit());
  EXPECT_OK(SqliteCatalog::Open(path_));
}

TEST_F(RebuildTest, LeavesALargeCatalogAsItIs) {
  ASSERT_OK(Open()->Execute("CREATE TABLE large AS SELECT zeroblob(1000000)"));
  RebuildIt(/*max_bytes=*/1'000'000);
  EXPECT_TRUE(IsOld());
  RebuildIt(/*max_bytes=*/2'000'000);
  EXPECT_FALSE(IsOld());
}

TEST_F(RebuildTest, HasNothingToDoWithANewCatalog) {
  const std::string path = folder_.path() + "/new.db";
  ASSERT_OK(SqliteCatalog::Open(path));
  EXPECT_THAT(NeedsRebuild(*Database::Open(path, Database::Mode::kReadWrite).value()),
              testing::IsOkAndHolds(false));
}

}  // namespace
}  // namespace backup::storage
