#include "base/file_system.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/testing/fault_file_system.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::ElementsAre;
using testing::FaultFileSystem;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using Loss = FaultFileSystem::Loss;

constexpr uint64_t kSeed = 20;

bool Write(FileSystem& file_system, const std::string& path, const std::string& bytes) {
  const std::unique_ptr<File> file = file_system.Create(path, 0);
  return file != nullptr && file->WriteAt(0, bytes) == std::ssize(bytes);
}

bool WriteDurably(FileSystem& file_system, const std::string& path, const std::string& bytes) {
  const std::unique_ptr<File> file = file_system.Create(path, 0);
  return file != nullptr && file->WriteAt(0, bytes) == std::ssize(bytes) && file->Sync() &&
         file_system.SyncFolder(path.substr(0, path.rfind('/') + 1));
}

std::string Content(FileSystem& file_system, const std::string& path) {
  const std::unique_ptr<File> file = file_system.Open(path, 0);
  if (file == nullptr) return "none";
  std::string bytes(static_cast<size_t>(*file->SizeBytes()), '\0');
  EXPECT_EQ(file->ReadAt(0, std::span<char>(bytes)), std::ssize(bytes));
  return bytes;
}

std::map<std::string, int64_t> Listed(FileSystem& file_system, const std::string& path) {
  std::map<std::string, int64_t> entries;
  EXPECT_TRUE(file_system.List(path, [&](const FileSystem::Entry& entry) {
    return entries.emplace(entry.name, entry.size_bytes).second;
  }));
  return entries;
}

// What every file system does.
class FileSystemTest : public ::testing::TestWithParam<bool> {
 protected:
  FileSystemTest() {
    if (GetParam()) {
      PCHECK(::mkdtemp(folder_.data()) != nullptr) << folder_;
    } else {
      folder_ = "/data";
      CHECK(memory_.MakeFolder(folder_));
    }
  }
  ~FileSystemTest() override {
    if (GetParam()) std::filesystem::remove_all(folder_);
  }

  FileSystem& fs() { return GetParam() ? FileSystem::Real() : memory_; }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::map<std::string, int64_t> Names() { return Listed(fs(), folder_); }

 private:
  FaultFileSystem memory_{kSeed};
  std::string folder_ = ::testing::TempDir() + "file_system_test_XXXXXX";
};

INSTANTIATE_TEST_SUITE_P(, FileSystemTest, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Real" : "Memory"; });

TEST_P(FileSystemTest, HasWhatWasWritten) {
  {
    const std::unique_ptr<File> file = fs().Create(Path("a"), 0);
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(file->WriteAt(3, "lo"), 2);
    EXPECT_EQ(file->WriteAt(0, "hel"), 3);
    EXPECT_TRUE(file->Sync());
    EXPECT_EQ(file->SizeBytes(), 5);
  }
  EXPECT_EQ(Content(fs(), Path("a")), "hello");
  const std::unique_ptr<File> file = fs().Open(Path("a"), O_NOFOLLOW);
  std::string bytes(10, '\0');
  EXPECT_EQ(file->ReadAt(2, std::span<char>(bytes)), 3);
  EXPECT_EQ(file->ReadAt(5, std::span<char>(bytes)), 0);
  EXPECT_GT(file->Disk()->free_bytes, 0);
  EXPECT_GE(file->Disk()->total_bytes, file->Disk()->free_bytes);
}

// It may be read, but nothing that is in it be looked at. A root that tests looks as somebody else.
TEST(RealFileSystemTest, TellsThatAFolderCannotBeListed) {
  constexpr uid_t kNobody = 65534;
  std::string folder = ::testing::TempDir() + "file_system_test_XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  ASSERT_TRUE(Write(FileSystem::Real(), folder + "/a", "a"));
  ASSERT_EQ(::chmod(folder.c_str(), 0444), 0);
  const uid_t self = ::geteuid();
  if (self == 0) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  std::vector<std::string> seen;
  const bool is_listed = FileSystem::Real().List(folder, [&](const FileSystem::Entry& entry) {
    seen.push_back(entry.name);
    return true;
  });
  const int error = errno;
  if (self == 0) {
    ASSERT_EQ(::seteuid(self), 0);
  }
  EXPECT_FALSE(is_listed);
  EXPECT_EQ(error, EACCES);
  EXPECT_THAT(seen, IsEmpty());
  ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
  std::filesystem::remove_all(folder);
}

TEST_P(FileSystemTest, HasTheSizeThatItWasGiven) {
  const std::unique_ptr<File> file = fs().Create(Path("a"), 0);
  ASSERT_TRUE(file->Allocate(6));
  EXPECT_EQ(file->SizeBytes(), 6);
  EXPECT_EQ(file->WriteAt(0, "123456"), 6);
  ASSERT_TRUE(file->Allocate(3));
  EXPECT_EQ(file->SizeBytes(), 6);
  ASSERT_TRUE(file->PunchHole(1, 2));
  ASSERT_TRUE(file->SetSize(5));
  EXPECT_EQ(Content(fs(), Path("a")), std::string("1\0\0"
                                                  "45",
                                                  5));
}

TEST_P(FileSystemTest, MakesAFileOnlyWhereNothingIs) {
  ASSERT_TRUE(Write(fs(), Path("a"), "mine"));
  EXPECT_EQ(fs().Create(Path("a"), 0), nullptr);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(fs().Create(Path("none/a"), 0), nullptr);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(fs().Open(Path("none"), 0), nullptr);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(fs().Open(Path("a/b"), 0), nullptr);
  EXPECT_EQ(errno, ENOTDIR);
}

TEST_P(FileSystemTest, RenamesOverWhatIsThereOrNot) {
  ASSERT_TRUE(Write(fs(), Path("a"), "a") && Write(fs(), Path("b"), "bb"));
  EXPECT_FALSE(fs().RenameToNew(Path("a"), Path("b")));
  EXPECT_EQ(errno, EEXIST);
  EXPECT_TRUE(fs().RenameToNew(Path("a"), Path("c")));
  EXPECT_TRUE(fs().Rename(Path("c"), Path("b")));
  EXPECT_THAT(Names(), ElementsAre(Pair("b", 1)));
  EXPECT_FALSE(fs().Rename(Path("c"), Path("b")));
  EXPECT_EQ(errno, ENOENT);
}

TEST_P(FileSystemTest, GivesAFileASecondName) {
  ASSERT_TRUE(Write(fs(), Path("a"), "a"));
  EXPECT_TRUE(fs().Link(Path("a"), Path("b")));
  EXPECT_FALSE(fs().Link(Path("a"), Path("b")));
  EXPECT_EQ(errno, EEXIST);
  EXPECT_TRUE(fs().Remove(Path("a")));
  EXPECT_EQ(Content(fs(), Path("b")), "a");
}

TEST_P(FileSystemTest, RemovesFilesAlone) {
  ASSERT_TRUE(Write(fs(), Path("a"), "still readable") && fs().MakeFolder(Path("folder")));
  EXPECT_FALSE(fs().MakeFolder(Path("folder")));
  EXPECT_EQ(errno, EEXIST);
  const std::unique_ptr<File> file = fs().Open(Path("a"), 0);
  EXPECT_TRUE(fs().Remove(Path("a")));
  std::string bytes(14, '\0');
  EXPECT_EQ(file->ReadAt(0, std::span<char>(bytes)), 14);
  EXPECT_EQ(bytes, "still readable");
  EXPECT_FALSE(fs().Remove(Path("a")));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(fs().Remove(Path("folder")));
  EXPECT_EQ(errno, EISDIR);
}

TEST_P(FileSystemTest, ListsWhatIsInAFolderUntilItIsEnough) {
  ASSERT_TRUE(fs().MakeFolder(Path("folder")));
  ASSERT_TRUE(Write(fs(), Path("folder/a"), "a") && Write(fs(), Path("folder/b"), "bb"));
  EXPECT_THAT(Listed(fs(), Path("folder")), UnorderedElementsAre(Pair("a", 1), Pair("b", 2)));
  int seen = 0;
  EXPECT_TRUE(fs().List(Path("folder"), [&](const FileSystem::Entry&) { return ++seen < 1; }));
  EXPECT_EQ(seen, 1);
  EXPECT_TRUE(fs().SyncFolder(Path("folder")) && fs().SyncFolder(Path("folder/..")));
  EXPECT_FALSE(fs().SyncFolder(Path("none")));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(fs().List(Path("none"), [](const FileSystem::Entry&) { return true; }));
  EXPECT_EQ(errno, ENOENT);
}

class FaultFileSystemTest : public ::testing::Test {
 protected:
  // What may be at `path` after a crash, and how often of so many.
  std::map<std::string, int> AfterCrashes(const std::function<void(FaultFileSystem&)>& work,
                                          Loss loss, const std::string& path) {
    std::map<std::string, int> found;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      FaultFileSystem fs(seed);
      work(fs);
      fs.Restart(loss);
      ++found[Content(fs, path)];
    }
    return found;
  }

  FaultFileSystem fs_{kSeed};
};

TEST_F(FaultFileSystemTest, TakesOnlyWhatIsAlignedWhileItBypassesThePageCache) {
  constexpr size_t kSector = FaultFileSystem::kSectorSize;
  const std::unique_ptr<File> file = fs_.Create("/a", O_DIRECT);
  ASSERT_TRUE(file->is_direct());
  alignas(kSector) std::array<char, 2 * kSector> bytes = {};
  EXPECT_EQ(file->WriteAt(kSector, {bytes.data(), kSector}), kSector);
  for (const auto& [offset, at, size] :
       {std::array{size_t{1}, size_t{0}, kSector}, std::array{size_t{0}, size_t{1}, kSector},
        std::array{size_t{0}, size_t{0}, kSector + 1}}) {
    EXPECT_EQ(file->WriteAt(static_cast<int64_t>(offset), {bytes.data() + at, size}), -1);
    EXPECT_EQ(errno, EINVAL);
  }
  ASSERT_TRUE(file->UsePageCache());
  EXPECT_FALSE(file->is_direct());
  EXPECT_EQ(file->WriteAt(1, {bytes.data() + 1, 3}), 3);
}

TEST_F(FaultFileSystemTest, FailsOnceOrEverAfter) {
  fs_.FailNth(2, ENOSPC);
  EXPECT_TRUE(fs_.MakeFolder("/a"));
  EXPECT_FALSE(fs_.has_struck());
  EXPECT_FALSE(fs_.MakeFolder("/b"));
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_TRUE(fs_.has_struck());
  EXPECT_TRUE(fs_.MakeFolder("/b"));
  fs_.FailFromNth(1, EDQUOT);
  EXPECT_FALSE(fs_.MakeFolder("/c"));
  EXPECT_FALSE(fs_.MakeFolder("/c"));
  EXPECT_EQ(errno, EDQUOT);
  fs_.Heal();
  EXPECT_TRUE(fs_.MakeFolder("/c"));
}

TEST_F(FaultFileSystemTest, DoesNothingMoreOnceItWasStopped) {
  ASSERT_TRUE(WriteDurably(fs_, "/a", "a"));
  const std::unique_ptr<File> file = fs_.Create("/b", 0);
  ASSERT_TRUE(fs_.SyncFolder("/"));
  fs_.StopAtNth(1);
  EXPECT_FALSE(fs_.Remove("/nothing"));
  EXPECT_FALSE(fs_.Remove("/a"));
  EXPECT_EQ(file->WriteAt(0, "b"), -1);
  EXPECT_FALSE(file->Sync());
  fs_.Restart(Loss::kNothing);
  EXPECT_EQ(file->WriteAt(0, "b"), -1);
  EXPECT_THAT(Listed(fs_, "/"), ElementsAre(Pair("a", 1), Pair("b", 0)));
}

TEST_F(FaultFileSystemTest, TheCallThatItStopsInHappensOrNot) {
  const auto work = [](FaultFileSystem& fs) {
    fs.StopAtNth(2);
    WriteDurably(fs, "/a", "a");
  };
  const auto found = AfterCrashes(work, Loss::kNothing, "/a");
  EXPECT_THAT(found, ElementsAre(Pair("", ::testing::Gt(20)), Pair("a", ::testing::Gt(20))));
}

TEST_F(FaultFileSystemTest, LosesWhatWasNotSyncedAndNothingElse) {
  const auto work = [](FaultFileSystem& fs) {
    ASSERT_TRUE(WriteDurably(fs, "/a", "old"));
    ASSERT_TRUE(Write(fs, "/b", "new") && fs.Rename("/b", "/a"));
  };
  EXPECT_THAT(AfterCrashes(work, Loss::kNothing, "/a"), ElementsAre(Pair("new", 200)));
  EXPECT_THAT(AfterCrashes(work, Loss::kEverything, "/a"), ElementsAre(Pair("old", 200)));
  // The name without the bytes, and the size without them.
  EXPECT_THAT(
      AfterCrashes(work, Loss::kAny, "/a"),
      UnorderedElementsAre(Pair("old", ::testing::_), Pair("new", ::testing::_),
                           Pair("", ::testing::_), Pair(std::string(3, '\0'), ::testing::_)));
}

TEST_F(FaultFileSystemTest, ANameIsLostThoughTheFileWasSynced) {
  const auto work = [](FaultFileSystem& fs) {
    const std::unique_ptr<File> file = fs.Create("/a", 0);
    ASSERT_TRUE(file->WriteAt(0, "a") == 1 && file->Sync());
  };
  EXPECT_THAT(AfterCrashes(work, Loss::kEverything, "/a"), ElementsAre(Pair("none", 200)));
  EXPECT_THAT(AfterCrashes(work, Loss::kAny, "/a"),
              ElementsAre(Pair("a", ::testing::_), Pair("none", ::testing::_)));
}

TEST_F(FaultFileSystemTest, WhatWasRemovedIsThereAgainUnlessTheFolderWasSynced) {
  const auto removed = [](FaultFileSystem& fs) {
    ASSERT_TRUE(WriteDurably(fs, "/a", "a") && fs.Remove("/a"));
  };
  EXPECT_THAT(AfterCrashes(removed, Loss::kAny, "/a"),
              ElementsAre(Pair("a", ::testing::_), Pair("none", ::testing::_)));
  const auto synced = [&](FaultFileSystem& fs) {
    removed(fs);
    ASSERT_TRUE(fs.SyncFolder("/"));
  };
  EXPECT_THAT(AfterCrashes(synced, Loss::kAny, "/a"), ElementsAre(Pair("none", 200)));
}

TEST_F(FaultFileSystemTest, NoLaterSyncHelpsWhatOneHasFailedFor) {
  const auto work = [](FaultFileSystem& fs) {
    const std::unique_ptr<File> file = fs.Create("/a", 0);
    ASSERT_TRUE(fs.SyncFolder("/") && file->WriteAt(0, "lost") == 4);
    fs.FailNth(1, EIO);
    ASSERT_FALSE(file->Sync());
    ASSERT_TRUE(file->Sync() && file->WriteAt(0, "n") == 1 && file->Sync());
  };
  EXPECT_THAT(AfterCrashes(work, Loss::kEverything, "/a"), ElementsAre(Pair("n", 200)));
  EXPECT_THAT(AfterCrashes(work, Loss::kNothing, "/a"),
              ElementsAre(Pair("n", ::testing::_), Pair("nost", ::testing::_)));
}

TEST_F(FaultFileSystemTest, TearsAWriteBetweenSectors) {
  constexpr size_t kSector = FaultFileSystem::kSectorSize;
  const std::string written = std::string(kSector, 'a') + std::string(kSector, 'b') + "c";
  const auto work = [&](FaultFileSystem& fs) {
    const std::unique_ptr<File> file = fs.Create("/a", 0);
    ASSERT_TRUE(file->SetSize(std::ssize(written)) && file->Sync() && fs.SyncFolder("/"));
    ASSERT_EQ(file->WriteAt(0, written), std::ssize(written));
  };
  std::map<std::string, int> sectors;
  for (const auto& [content, times] : AfterCrashes(work, Loss::kAny, "/a")) {
    ASSERT_EQ(content.size(), written.size());
    for (size_t at = 0; at < content.size(); at += kSector) {
      const std::string sector = content.substr(at, kSector);
      EXPECT_TRUE(sector == written.substr(at, kSector) || sector == std::string(sector.size(), 0));
    }
    sectors[{content[0], content[kSector], content.back()}] += times;
  }
  EXPECT_EQ(sectors.size(), 8u);
}

TEST_F(FaultFileSystemTest, KeepsAsMuchOfTheLastWriteAsItIsTold) {
  ASSERT_TRUE(WriteDurably(fs_, "/a", "durable"));
  ASSERT_TRUE(Write(fs_, "/b", "12345") && fs_.SyncFolder("/"));
  EXPECT_EQ(fs_.LastWriteSize(), 5);
  fs_.Restart(Loss::kEverything, 3);
  EXPECT_EQ(Content(fs_, "/a"), "durable");
  EXPECT_EQ(Content(fs_, "/b"), "123");
  EXPECT_EQ(fs_.LastWriteSize(), 0);
}

TEST_F(FaultFileSystemTest, RunsOutOfSpace) {
  fs_.SetCapacity(10);
  const std::unique_ptr<File> file = fs_.Create("/a", 0);
  EXPECT_EQ(file->WriteAt(0, "1234567"), 7);
  EXPECT_EQ(file->Disk()->free_bytes, 3);
  EXPECT_FALSE(file->Allocate(11));
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(file->WriteAt(7, "89012"), 3);
  EXPECT_EQ(file->WriteAt(10, "12"), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(file->WriteAt(0, "again"), 5);
}

}  // namespace
}  // namespace backup
