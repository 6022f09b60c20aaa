#include "services/backupctl/local_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/aligned_buffer.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/temp_folder.h"

namespace backup::ctl {
namespace {

using ::backup::testing::PseudoRandomBytes;
using testing::TempFolder;

constexpr size_t kKibibyte = 1024;
constexpr size_t kMebibyte = 1024 * kKibibyte;

class OutputFileTest : public ::testing::Test {
 protected:
  std::unique_ptr<OutputFile> Create(int64_t expected_size = 0) {
    auto file = OutputFile::Create(root_.get(), expected_size);
    EXPECT_OK(file);
    return *std::move(file);
  }
  struct stat StatOf(const std::string& name) {
    struct stat info = {};
    EXPECT_EQ(::stat(folder_.Path(name).c_str(), &info), 0);
    return info;
  }

  TempFolder folder_;
  UniqueFd root_{::open(folder_.Path(".").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
};

TEST_F(OutputFileTest, HasTheTimeAndTheModeThatItIsToHave) {
  const mode_t before = ::umask(0);
  const auto file = Create();
  ASSERT_OK(file->Write("content"));
  const absl::Time time = absl::FromUnixMicros(1'234'567'890'123'456);
  ASSERT_OK(file->Commit(root_.get(), "file", /*replace=*/false, time));
  ::umask(before);
  EXPECT_EQ(absl::TimeFromTimespec(StatOf("file").st_mtim), time);
  EXPECT_EQ(StatOf("file").st_mode & 0777, mode_t{0600});
}

TEST_F(OutputFileTest, MakesHolesOfZerosWhateverThePiecesAre) {
  std::string bytes = PseudoRandomBytes(kMebibyte) + std::string(4 * kMebibyte, '\0') +
                      PseudoRandomBytes(100 * kKibibyte) + std::string(kMebibyte + 12345, '\0') +
                      "x" + std::string(3 * kMebibyte + 777, '\0');
  const AlignedBuffer aligned = TakeAlignedBuffer(16 * kMebibyte);
  bytes.copy(aligned.get(), bytes.size());
  const absl::string_view unaligned = bytes;
  for (const absl::string_view all : {absl::string_view(aligned.get(), bytes.size()), unaligned}) {
    for (const size_t piece : {2 * kMebibyte, kMebibyte, 100'000ul, 70 * kKibibyte}) {
      for (const int64_t expected : {int64_t{0}, static_cast<int64_t>(bytes.size())}) {
        const auto file = Create(expected);
        for (size_t at = 0; at < all.size(); at += piece)
          ASSERT_OK(file->Write(all.substr(at, piece)));
        ASSERT_OK(file->Sync());
        ASSERT_OK(file->Commit(root_.get(), "file", /*replace=*/true, absl::Now()));
        EXPECT_TRUE(folder_.Read("file") == bytes) << piece;
        // With large pieces nearly all zeros become holes.
        if (piece >= kMebibyte && all.data() == aligned.get()) {
          EXPECT_LT(StatOf("file").st_blocks * 512, blkcnt_t{3 * kMebibyte / 2}) << piece;
        }
      }
    }
  }
}

TEST_F(OutputFileTest, OfZerosOnlyIsAllHole) {
  const auto file = Create(8 * kMebibyte);
  for (int i = 0; i < 8; ++i) ASSERT_OK(file->Write(std::string(kMebibyte, '\0')));
  ASSERT_OK(file->Commit(root_.get(), "file", /*replace=*/false, absl::Now()));
  EXPECT_EQ(StatOf("file").st_size, off_t{8 * kMebibyte});
  EXPECT_LT(StatOf("file").st_blocks * 512, blkcnt_t{64 * kKibibyte});
}

TEST_F(OutputFileTest, MayBeLargerThanTheDiskIfItsHolesAre) {
  const auto file = Create(int64_t{1} << 50);
  ASSERT_OK(file->Write("begin"));
}

TEST_F(OutputFileTest, LeftOverPartsAreRemovedUnlessSomebodyWritesThemOrTheyAreNoParts) {
  const std::string left_over = ".backupctl-0123456789abcdef.part";
  folder_.Write(left_over, "half");
  const std::string others[] = {".backupctl-0123456789abcdef.par",
                                "backupctl-0123456789abcdef.part",
                                ".backupctl-0123456789ABCDEF.part",
                                ".backupctl-0123.part",
                                ".backupctl-.part",
                                "file"};
  for (const std::string& name : others) folder_.Write(name, "the user's");
  std::filesystem::create_symlink(folder_.Path("file"),
                                  folder_.Path(".backupctl-1111111111111111.part"));
  std::filesystem::create_directory(folder_.Path(".backupctl-2222222222222222.part"));
  const auto written = Create();
  ASSERT_OK(written->Write("some"));
  const size_t before = folder_.List().size();
  EXPECT_EQ(RemoveLeftOverParts(root_.get()), 1);
  EXPECT_EQ(folder_.List().size(), before - 1);
  EXPECT_FALSE(folder_.List().contains(left_over));
  EXPECT_EQ(RemoveLeftOverParts(root_.get()), 0);
  ASSERT_OK(written->Commit(root_.get(), "written", /*replace=*/false, absl::Now()));
  EXPECT_EQ(folder_.Read("written"), "some");
}

}  // namespace
}  // namespace backup::ctl
