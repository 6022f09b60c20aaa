#include "base/direct_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/testing/random_cut_source.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

class DirectFileTest : public ::testing::TestWithParam<std::string> {
 protected:
  DirectFileTest() { PCHECK(::mkdtemp(folder_.data()) != nullptr) << folder_; }
  ~DirectFileTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/file"; }
  std::string Content() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string folder_ = GetParam() + "/direct_file_test_XXXXXX";
};

// One file system that knows direct writes, usually, and one that does not.
INSTANTIATE_TEST_SUITE_P(FileSystems, DirectFileTest,
                         ::testing::Values(::testing::TempDir(), "/dev/shm"));

TEST_P(DirectFileTest, HasWhatWasWrittenWhateverThePiecesAre) {
  const std::string bytes = testing::PseudoRandomBytes((size_t{3} << 20) + 4097);
  const AlignedBuffer aligned = TakeAlignedBuffer(size_t{4} << 20);
  bytes.copy(aligned.get(), bytes.size());
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{1} << 20, bytes.size()}) {
    for (const size_t piece : {size_t{5000}, size_t{1} << 20}) {
      DirectFile file(DirectFile::Create(AT_FDCWD, path()));
      for (size_t at = 0; at < size; at += piece) {
        ASSERT_TRUE(file.Write(absl::string_view(aligned.get() + at, std::min(piece, size - at))));
      }
      ASSERT_TRUE(file.Flush() && file.Sync());
      EXPECT_EQ(file.written_bytes(), static_cast<int64_t>(size));
      EXPECT_TRUE(Content() == bytes.substr(0, size)) << size << " in pieces of " << piece;
      std::filesystem::remove(path());
    }
  }
}

TEST_P(DirectFileTest, GivesBackSpaceThatWasAllocatedInVain) {
  DirectFile file(DirectFile::Create(AT_FDCWD, path()));
  ASSERT_TRUE(file.Allocate(int64_t{16} << 20));
  ASSERT_TRUE(file.Write("bytes") && file.Flush());
  struct stat info = {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 5);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
}

TEST_P(DirectFileTest, TakesNothingIfThereIsNotRoomForAll) {
  DirectFile file(DirectFile::Create(AT_FDCWD, path()));
  EXPECT_FALSE(file.Allocate(int64_t{8} << 50));
  EXPECT_EQ(errno, ENOSPC);
}

TEST_P(DirectFileTest, IsMadeOnlyWhereNothingIs) {
  std::ofstream(path()) << "mine";
  EXPECT_FALSE(DirectFile::Create(AT_FDCWD, path()).valid());
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(Content(), "mine");
}

}  // namespace
}  // namespace backup
