#include "storage/space_reserve.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;

class SpaceReserveTest : public ::testing::Test {
 protected:
  // What the folder really takes of the disk.
  int64_t AllocatedBytes() const {
    int64_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(path_)) {
      struct stat info = {};
      EXPECT_EQ(::stat(file.path().c_str(), &info), 0);
      bytes += info.st_blocks * 512;
    }
    return bytes;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/reserve";
  Metrics metrics_;
  const StorageMetrics storage_metrics_{metrics_};
};

TEST_F(SpaceReserveTest, IsASixteenthOfASmallDisk) {
  EXPECT_EQ(SpaceReserve::SizeFor(int64_t{64} << 20), 4 << 20);
  EXPECT_EQ(SpaceReserve::SizeFor(int64_t{1} << 30), 64 << 20);
  EXPECT_EQ(SpaceReserve::SizeFor(int64_t{1} << 50), 64 << 20);
}

TEST_F(SpaceReserveTest, TakesRoomThatIsReallyThere) {
  SpaceReserve reserve(path_, storage_metrics_);
  EXPECT_FALSE(reserve.is_whole());
  EXPECT_THAT(reserve.CheckGrowth(), HasReason(Reason::kStorageFull));
  ASSERT_TRUE(reserve.Restore());
  EXPECT_TRUE(reserve.is_whole());
  EXPECT_OK(reserve.CheckGrowth());
  EXPECT_GE(AllocatedBytes(), reserve.size_bytes());
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(absl::StrCat("backup_storage_reserved_bytes ", reserve.size_bytes())));
}

TEST_F(SpaceReserveTest, IsNobodyElsesBusiness) {
  SpaceReserve reserve(path_);
  ASSERT_TRUE(reserve.Restore());
  namespace fs = std::filesystem;
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_all);
  for (const auto& file : fs::directory_iterator(path_))
    EXPECT_EQ(file.status().permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(SpaceReserveTest, GivesRoomAndInodesUpPieceByPieceAndGrowthWithTheFirst) {
  SpaceReserve reserve(path_, storage_metrics_);
  ASSERT_TRUE(reserve.Restore());
  for (int left = SpaceReserve::kPieces - 1; left >= 0; --left) {
    ASSERT_TRUE(reserve.Release());
    EXPECT_THAT(reserve.CheckGrowth(), HasReason(Reason::kStorageFull));
    EXPECT_LE(AllocatedBytes(), reserve.size_bytes() * left / SpaceReserve::kPieces);
  }
  EXPECT_TRUE(std::filesystem::is_empty(path_));
  EXPECT_FALSE(reserve.Release());
  EXPECT_THAT(metrics_.Text(), HasSubstr("backup_storage_reserved_bytes 0\n"));
  ASSERT_TRUE(reserve.Restore());
  EXPECT_OK(reserve.CheckGrowth());
}

TEST_F(SpaceReserveTest, NeedsNoDescriptorToGiveUpWhatItHas) {
  SpaceReserve reserve(path_);
  ASSERT_TRUE(reserve.Restore());
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool released = reserve.Release();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(released);
  EXPECT_LE(AllocatedBytes(), reserve.size_bytes() * 7 / 8);
}

TEST_F(SpaceReserveTest, IsFoundAgainByTheNextProcess) {
  ASSERT_TRUE(SpaceReserve(path_).Restore());
  EXPECT_TRUE(SpaceReserve(path_).is_whole());
  SpaceReserve(path_).Release();
  SpaceReserve reserve(path_);
  EXPECT_FALSE(reserve.is_whole());
  EXPECT_TRUE(reserve.Restore());
}

TEST_F(SpaceReserveTest, MakesAnewWhatIsNotWhatItSeemsAndRemovesWhatWasNotFinished) {
  ASSERT_TRUE(SpaceReserve(path_).Restore());
  const auto size = std::filesystem::file_size(path_ + "/6");
  // As a copy that leaves holes.
  std::filesystem::resize_file(path_ + "/6", 0);
  std::filesystem::resize_file(path_ + "/6", size);
  std::ofstream(path_ + "/new3") << "half";
  SpaceReserve reserve(path_);
  EXPECT_FALSE(reserve.is_whole());
  EXPECT_FALSE(std::filesystem::exists(path_ + "/new3"));
  ASSERT_TRUE(reserve.Restore());
  EXPECT_GE(AllocatedBytes(), reserve.size_bytes());
}

TEST_F(SpaceReserveTest, ForbidsGrowthWhileTheLogIsLargerThanTheRoomThatIsLeft) {
  SpaceReserve reserve(path_);
  ASSERT_TRUE(reserve.Restore());
  reserve.NoteLogBytes(SpaceReserve::kMaxBytes);
  EXPECT_OK(reserve.CheckGrowth());
  reserve.NoteLogBytes(std::numeric_limits<int64_t>::max());
  EXPECT_THAT(reserve.CheckGrowth(), HasReason(Reason::kStorageFull));
  EXPECT_THAT(reserve.CheckGrowth().message(), HasSubstr("sqlite3"));
}

TEST_F(SpaceReserveTest, CannotBeMadeWhereNothingCan) {
  SpaceReserve reserve(folder_.path() + "/none/reserve");
  EXPECT_FALSE(reserve.Restore());
  EXPECT_FALSE(reserve.Release());
}

}  // namespace
}  // namespace backup::storage
