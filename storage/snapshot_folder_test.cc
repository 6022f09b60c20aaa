#include "storage/snapshot_folder.h"

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/testing/fault_file_system.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using ::testing::ElementsAre;
using testing::FaultFileSystem;
using ::testing::IsEmpty;
using testing::StatusIs;

constexpr absl::Time kNoon = absl::FromUnixSeconds(1'777'636'800);  // 2026-05-01 12:00:00.

class SnapshotFolderTest : public ::testing::Test {
 protected:
  SnapshotFolder::Entry Put(int64_t number, absl::Time time, const std::string& bytes = "bytes") {
    StringSource source(bytes);
    return snapshots_.Put(number, time, store_, source).value();
  }

  std::string store_;
  const TempFolder folder_;
  SnapshotFolder snapshots_{folder_.path() + "/snapshots"};
};

TEST_F(SnapshotFolderTest, ListsWhatItWasGivenNewestFirst) {
  EXPECT_THAT(snapshots_.List().value(), IsEmpty());
  const auto first = Put(1, kNoon);
  // Its number counts, and not its time: the clock may have been set back.
  const auto second = Put(2, kNoon - absl::Hours(30), std::string(100'000, 'x'));
  EXPECT_THAT(snapshots_.List().value(), ElementsAre(second, first));
  EXPECT_EQ(second.size_bytes, 100'000);
  EXPECT_EQ(SnapshotFolder::NameOf(first), "0000000001-20260501T120000Z.snapshot");
  std::string read(5, '\0');
  ASSERT_OK(snapshots_.Open(first).value()->ReadAt(0, {read.data(), read.size()}));
  EXPECT_EQ(read, "bytes");
}

TEST_F(SnapshotFolderTest, TellsStoresApart) {
  const auto nobodys = Put(1, kNoon);
  store_ = "0011223344556677";
  const auto ours = Put(2, kNoon);
  EXPECT_EQ(SnapshotFolder::NameOf(ours), "0000000002-20260501T120000Z-0011223344556677.snapshot");
  store_ = "8899aabbccddeeff";
  const auto theirs = Put(3, kNoon);
  EXPECT_THAT(snapshots_.List().value(), ElementsAre(theirs, ours, nobodys));
  EXPECT_THAT(snapshots_.ListOf(ours.store).value(), ElementsAre(ours, nobodys));
  EXPECT_THAT(snapshots_.ListOf(theirs.store).value(), ElementsAre(theirs, nobodys));
}

// Of a store that is gone, and of an older version, which did not say whose it was.
TEST_F(SnapshotFolderTest, RemovesWhatNobodyGoesOnWith) {
  Put(1, kNoon);
  const auto part = [&](const char* name) { return snapshots_.path() + "/" + name; };
  for (const char* const name : {"incoming.part", "incoming-8899aabbccddeeff.part",
                                 "incoming-0123456789abcdef.part", "somebody's.part"}) {
    { std::ofstream(part(name)) << "bytes"; }
    std::filesystem::last_write_time(
        part(name), std::filesystem::file_time_type::clock::now() -
                        absl::ToChronoSeconds(SnapshotFolder::kPartAge + absl::Hours(1)));
  }
  { std::ofstream(part("incoming-0123456789abcdef.part"), std::ios::app) << "more"; }
  store_ = "0011223344556677";
  Put(2, kNoon);
  EXPECT_FALSE(std::filesystem::exists(part("incoming.part")));
  EXPECT_FALSE(std::filesystem::exists(part("incoming-8899aabbccddeeff.part")));
  EXPECT_TRUE(std::filesystem::exists(part("incoming-0123456789abcdef.part")));
  EXPECT_TRUE(std::filesystem::exists(part("somebody's.part")));
}

TEST_F(SnapshotFolderTest, TwoStoresPutTheirsIntoOneFolderAtOnce) {
  store_ = "0011223344556677";
  for (const absl::string_view interrupted_at :
       {"snapshot is begun", "snapshot is written", "snapshot is synced"}) {
    SCOPED_TRACE(interrupted_at);
    SnapshotFolder theirs(snapshots_.path(), [&](absl::string_view step) {
      if (step == interrupted_at) Put(1, kNoon, "ours");
    });
    StringSource source("theirs");
    const auto put = theirs.Put(2, kNoon, "8899aabbccddeeff", source);
    ASSERT_OK(put);
    EXPECT_EQ(put->size_bytes, 6);
    const auto listed = snapshots_.List().value();
    ASSERT_EQ(listed.size(), 2u);
    for (const auto& entry : listed) {
      const std::string expected = entry.store == store_ ? "ours" : "theirs";
      EXPECT_EQ(entry.size_bytes, std::ssize(expected));
      std::string read(expected.size(), '\0');
      ASSERT_OK(snapshots_.Open(entry).value()->ReadAt(0, {read.data(), read.size()}));
      EXPECT_EQ(read, expected);
      ASSERT_OK(snapshots_.Remove(entry));
    }
    EXPECT_TRUE(std::filesystem::is_empty(snapshots_.path()));
  }
}

TEST_F(SnapshotFolderTest, LeavesOtherFilesAlone) {
  Put(1, kNoon);
  for (const char* name :
       {"notes", "0000000002-20260501T120000Z.snapshot.bak", "x.snapshot",
        "0000000002-yesterday.snapshot", "incoming.part", "incoming-0011223344556677.part"}) {
    std::ofstream(absl::StrCat(snapshots_.path(), "/", name)) << "other";
  }
  EXPECT_EQ(snapshots_.List()->size(), 1u);
}

class FailingSource final : public ByteSource {
 public:
  absl::StatusOr<absl::string_view> Read() override {
    if (++reads_ > 3) return absl::AbortedError("no more");
    return "some bytes";
  }

 private:
  int reads_ = 0;
};

TEST_F(SnapshotFolderTest, HasNothingOfWhatFailed) {
  FailingSource source;
  EXPECT_THAT(snapshots_.Put(1, kNoon, "", source).status(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_TRUE(std::filesystem::is_empty(snapshots_.path()));
}

TEST_F(SnapshotFolderTest, RemovesOneThatMayBeGone) {
  const auto entry = Put(1, kNoon);
  ASSERT_OK(snapshots_.Remove(entry));
  EXPECT_OK(snapshots_.Remove(entry));
  EXPECT_THAT(snapshots_.Open(entry).status(), StatusIs(absl::StatusCode::kNotFound));
}

std::vector<SnapshotFolder::Entry> Hourly(int count) {
  std::vector<SnapshotFolder::Entry> entries;
  for (int i = 0; i < count; ++i) entries.push_back({count - i, kNoon - absl::Hours(i), ""});
  return entries;
}

TEST(SnapshotFolderExpired, KeepsTheNewestEightAndOneADayForThirtyDays) {
  EXPECT_THAT(SnapshotFolder::Expired(Hourly(8)), IsEmpty());
  std::vector<SnapshotFolder::Entry> entries = Hourly(24 * 40);
  const auto expired = SnapshotFolder::Expired(entries);
  // The newest of today is among the newest eight.
  EXPECT_EQ(entries.size() - expired.size(), 8u + 29u);
  for (const auto& entry : expired) std::erase(entries, entry);
  EXPECT_EQ(entries[8].time, absl::FromUnixSeconds(1'777'593'600 - 3600)) << "yesterday's last";
  EXPECT_THAT(SnapshotFolder::Expired(entries), IsEmpty());
}

TEST(SnapshotFolderExpired, KeepsTheNewestEightHoweverOldTheyAreAndWhateverTheirTimes) {
  std::vector<SnapshotFolder::Entry> entries;
  for (int i = 0; i < 8; ++i) entries.push_back({8 - i, absl::UnixEpoch(), ""});
  EXPECT_THAT(SnapshotFolder::Expired(entries), IsEmpty());
}

// A folder of snapshots on a disk that fails, or forgets, at the 1st, 2nd, 3rd ... call.
class SnapshotFolderFaultsTest : public ::testing::Test {
 protected:
  using Loss = FaultFileSystem::Loss;
  static constexpr uint64_t kSeeds = 20;

  static std::string BytesOf(int64_t number) {
    return testing::PseudoRandomBytes(3000, static_cast<uint32_t>(number));
  }
  static bool Put(FaultFileSystem& fs, int64_t number) {
    SnapshotFolder snapshots(
        "/data/snapshots", [](absl::string_view) {}, fs);
    StringSource source(BytesOf(number));
    return snapshots.Put(number, kNoon, "", source).ok();
  }
  // What is listed, all of which must be whole.
  static std::vector<int64_t> Listed(FaultFileSystem& fs) {
    const SnapshotFolder snapshots(
        "/data/snapshots", [](absl::string_view) {}, fs);
    std::vector<int64_t> numbers;
    const std::vector<SnapshotFolder::Entry> entries = snapshots.List().value();
    for (const SnapshotFolder::Entry& entry : entries) {
      numbers.push_back(entry.number);
      std::string bytes(static_cast<size_t>(entry.size_bytes), '\0');
      EXPECT_OK(snapshots.Open(entry).value()->ReadAt(0, std::span<char>(bytes)));
      EXPECT_TRUE(bytes == BytesOf(entry.number)) << entry.number << " is damaged";
    }
    return numbers;
  }

  // Puts the first one at the fault, and after a crash that loses `loss`, the second one.
  static void ForEachCall(const std::function<void(FaultFileSystem&, int nth)>& arm, Loss loss) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      bool has_struck = true;
      for (int nth = 1; has_struck; ++nth) {
        SCOPED_TRACE(absl::StrCat("seed ", seed, ", call ", nth));
        FaultFileSystem fs(seed);
        ASSERT_TRUE(fs.MakeFolder("/data") && fs.SyncFolder("/"));
        arm(fs, nth);
        const bool is_put = Put(fs, 1);
        has_struck = fs.has_struck();
        ASSERT_TRUE(is_put || has_struck);
        fs.Restart(loss);
        const std::vector<int64_t> listed = Listed(fs);
        EXPECT_TRUE(!is_put || !listed.empty()) << "it is lost";
        // What was in the way is gone, and the folder itself lasts from now on.
        ASSERT_TRUE(Put(fs, 2));
        fs.Restart(Loss::kEverything);
        EXPECT_THAT(Listed(fs), ::testing::Contains(2));
        EXPECT_TRUE(fs.List("/data/snapshots", [](const FileSystem::Entry& entry) {
          EXPECT_FALSE(absl::EndsWith(entry.name, ".part")) << entry.name;
          return true;
        }));
        ASSERT_FALSE(HasFailure());
      }
    }
  }
};

TEST_F(SnapshotFolderFaultsTest, IsThereAndWholeOrNotThereAfterACrash) {
  for (const Loss loss : {Loss::kNothing, Loss::kEverything, Loss::kAny})
    ForEachCall([](FaultFileSystem& fs, int nth) { fs.StopAtNth(nth); }, loss);
}

TEST_F(SnapshotFolderFaultsTest, IsThereAndWholeOrNotThereWhateverFails) {
  for (const int error : {EIO, ENOSPC, EDQUOT}) {
    ForEachCall([&](FaultFileSystem& fs, int nth) { fs.FailNth(nth, error); }, Loss::kAny);
    ForEachCall([&](FaultFileSystem& fs, int nth) { fs.FailFromNth(nth, error); }, Loss::kAny);
  }
}

// The folder is there, and it may be lost, or be somebody else's.
TEST_F(SnapshotFolderFaultsTest, IsNotPutWhereItsFolderCannotBeMadeDurable) {
  const std::map<int, bool> expected = {
      {EIO, false}, {ENOSPC, false}, {EACCES, true}, {EPERM, true}, {EROFS, true}};
  for (const auto& [error, is_put] : expected) {
    SCOPED_TRACE(error);
    FaultFileSystem fs(/*seed=*/0);
    ASSERT_TRUE(fs.MakeFolder("/data") && fs.SyncFolder("/"));
    ASSERT_TRUE(Put(fs, 1));
    fs.FailNth(2, error);  // After MakeFolder().
    EXPECT_EQ(Put(fs, 2), is_put);
    EXPECT_TRUE(fs.has_struck());
  }
}

}  // namespace
}  // namespace backup::storage
