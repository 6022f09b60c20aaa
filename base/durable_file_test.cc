#include "base/durable_file.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/fault_file_system.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::FaultFileSystem;
using Loss = FaultFileSystem::Loss;

constexpr size_t kMaxSize = 4000;
constexpr std::array kErrors = {EIO, ENOSPC, EDQUOT};
constexpr std::array kLosses = {Loss::kNothing, Loss::kEverything, Loss::kAny};
constexpr uint64_t kSeeds = 50;

TEST(DurableFileTest, IsItsOwnersAloneAndReplacedAsAWhole) {
  std::string folder = ::testing::TempDir() + "durable_file_test_XXXXXX";
  PCHECK(::mkdtemp(folder.data()) != nullptr) << folder;
  const std::string path = folder + "/file";
  EXPECT_EQ(ReadSmallFile(path, kMaxSize), std::nullopt);
  EXPECT_EQ(errno, ENOENT);
  ASSERT_TRUE(ReplaceFile(path, "first, which is longer"));
  // What a crash left beside it is in nobody's way.
  std::ofstream(path + ".new") << "half of somethi";
  ASSERT_TRUE(ReplaceFile(path, "second"));
  EXPECT_EQ(ReadSmallFile(path, kMaxSize), "second");
  EXPECT_EQ(ReadSmallFile(path, 3), "sec");
  struct stat info = {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  std::filesystem::remove_all(folder);
}

class DurableFileFaultsTest : public ::testing::Test {
 protected:
  // Larger than a sector, as the last of a write.
  const std::string old_text_ = std::string(700, 'o');
  const std::string new_text_ = std::string(1500, 'n');
  const std::string path_ = "/data/file";

  // Replaces the old text by the new one for each seed with a fault at the first call, the second,
  // and so on until none strikes.
  void ForEachCall(const std::function<void(FaultFileSystem&, int nth)>& prepare,
                   const std::function<void(FaultFileSystem&, bool is_replaced)>& check) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      bool has_struck = true;
      for (int nth = 1; has_struck; ++nth) {
        SCOPED_TRACE(absl::StrCat("seed ", seed, ", call ", nth));
        FaultFileSystem fs(seed);
        ASSERT_TRUE(fs.MakeFolder("/data") && fs.SyncFolder("/"));
        ASSERT_TRUE(ReplaceFile(path_, old_text_, fs));
        prepare(fs, nth);
        const bool is_replaced = ReplaceFile(path_, new_text_, fs);
        has_struck = fs.has_struck();
        ASSERT_TRUE(is_replaced || has_struck);
        fs.Heal();
        check(fs, is_replaced);
        ASSERT_FALSE(HasFailure());
      }
    }
  }

  void ExpectWhole(FaultFileSystem& fs, bool is_replaced) const {
    const std::optional<std::string> text = ReadSmallFile(path_, kMaxSize, fs);
    EXPECT_TRUE(text == new_text_ || (!is_replaced && text == old_text_));
  }
  // As after any fault: nothing is in the way of the next one.
  void ExpectReplaceable(FaultFileSystem& fs) const {
    ASSERT_TRUE(ReplaceFile(path_, "third", fs));
    EXPECT_EQ(ReadSmallFile(path_ + ".new", kMaxSize, fs), std::nullopt);
    fs.Restart(Loss::kEverything);
    EXPECT_EQ(ReadSmallFile(path_, kMaxSize, fs), "third");
  }
};

TEST_F(DurableFileFaultsTest, IsTheOldOrTheNewOneWhateverFails) {
  for (const int error : kErrors) {
    ForEachCall([&](FaultFileSystem& fs, int nth) { fs.FailNth(nth, error); },
                [&](FaultFileSystem& fs, bool is_replaced) {
                  ExpectWhole(fs, is_replaced);
                  EXPECT_EQ(ReadSmallFile(path_ + ".new", kMaxSize, fs), std::nullopt);
                  fs.Restart(Loss::kAny);
                  ExpectWhole(fs, is_replaced);
                  ExpectReplaceable(fs);
                });
    ForEachCall([&](FaultFileSystem& fs, int nth) { fs.FailFromNth(nth, error); },
                [&](FaultFileSystem& fs, bool is_replaced) {
                  fs.Restart(Loss::kAny);
                  ExpectWhole(fs, is_replaced);
                  ExpectReplaceable(fs);
                });
  }
}

TEST_F(DurableFileFaultsTest, IsTheOldOrTheNewOneAfterACrash) {
  for (const Loss loss : kLosses) {
    ForEachCall([](FaultFileSystem& fs, int nth) { fs.StopAtNth(nth); },
                [&](FaultFileSystem& fs, bool is_replaced) {
                  fs.Restart(loss);
                  ExpectWhole(fs, is_replaced);
                  ExpectReplaceable(fs);
                });
  }
}

TEST_F(DurableFileFaultsTest, IsTheOldOrTheNewOneWhereverItsWriteIsTorn) {
  for (int64_t kept = 0; kept <= std::ssize(new_text_); ++kept) {
    ForEachCall([](FaultFileSystem& fs, int nth) { fs.StopAtNth(nth); },
                [&](FaultFileSystem& fs, bool is_replaced) {
                  fs.Restart(Loss::kNothing, kept);
                  ExpectWhole(fs, is_replaced);
                });
    if (kept % FaultFileSystem::kSectorSize == 2) kept += FaultFileSystem::kSectorSize - 4;
  }
}

TEST(MakeFileIfMissingTest, IsMadeOnceAndWholeWhateverFailsOrCrashes) {
  constexpr char kPath[] = "/file";
  const std::string text(700, 't');
  enum class Way { kFails, kEnds };
  for (const Way way : {Way::kFails, Way::kEnds}) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      bool has_struck = true;
      for (int nth = 1; has_struck; ++nth) {
        SCOPED_TRACE(absl::StrCat("seed ", seed, ", call ", nth));
        FaultFileSystem fs(seed);
        way == Way::kFails ? fs.FailNth(nth, EIO) : fs.StopAtNth(nth);
        const bool is_made = MakeFileIfMissing(kPath, text, "1", fs);
        has_struck = fs.has_struck();
        EXPECT_TRUE(is_made || has_struck);
        fs.Heal();
        fs.Restart(Loss::kAny);
        const std::optional<std::string> found = ReadSmallFile(kPath, kMaxSize, fs);
        EXPECT_TRUE(found == text || (!is_made && !found));
        // Whoever comes next uses what there is.
        ASSERT_TRUE(MakeFileIfMissing(kPath, "other", "2", fs));
        fs.Restart(Loss::kEverything);
        EXPECT_EQ(ReadSmallFile(kPath, kMaxSize, fs), found.value_or("other"));
        ASSERT_FALSE(::testing::Test::HasFailure());
      }
    }
  }
}

TEST_F(DurableFileFaultsTest, StaysAsItIsOnAFullDisk) {
  FaultFileSystem fs(/*seed=*/0);
  ASSERT_TRUE(fs.MakeFolder("/data") && fs.SyncFolder("/"));
  ASSERT_TRUE(ReplaceFile(path_, old_text_, fs));
  for (int64_t room = 0; room < std::ssize(new_text_); room += 100) {
    fs.SetCapacity(std::ssize(old_text_) + room);
    EXPECT_FALSE(ReplaceFile(path_, new_text_, fs));
    EXPECT_EQ(errno, ENOSPC);
    ExpectWhole(fs, /*is_replaced=*/false);
  }
  fs.SetCapacity(std::ssize(old_text_ + new_text_));
  EXPECT_TRUE(ReplaceFile(path_, new_text_, fs));
}

}  // namespace
}  // namespace backup
