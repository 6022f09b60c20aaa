// The local blob store on a disk that fails, forgets and is full, at its 1st, 2nd, 3rd ... call
// until a run passes untouched.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/fault_file_system.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/local/local_blob_store.h"
#include "storage/testing/ids.h"

namespace backup::storage {
namespace {

using testing::FaultFileSystem;
using testing::HasReason;
using Loss = FaultFileSystem::Loss;

constexpr char kFolder[] = "/store";
constexpr std::array kErrors = {EIO, ENOSPC, EDQUOT, EINVAL};
constexpr std::array kLosses = {Loss::kNothing, Loss::kEverything, Loss::kAny};
constexpr uint64_t kSeeds = 6;
constexpr uint8_t kStored = 1;  // Ids. Of this one before anything fails.
constexpr uint8_t kFirst = 2;
constexpr uint8_t kLast = 5;
constexpr uint8_t kAfterwards = 9;

BlobId Id(uint8_t blob) { return IdOf<BlobId>(blob); }

// What is stored as each blob: of two writes, several sectors, or less than one.
const std::string& BytesOf(uint8_t blob) {
  static const auto& all = *[] {
    auto* const bytes = new std::array<std::string, kAfterwards + 1>();
    constexpr std::array kSizes = {size_t{0},      size_t{5000}, kPieceSize + 777,
                                   size_t{12'288}, size_t{100},  size_t{0}};
    for (size_t i = 0; i < bytes->size(); ++i)
      (*bytes)[i] = testing::PseudoRandomBytes(i < kSizes.size() ? kSizes[i] : 3000,
                                               static_cast<uint32_t>(i));
    return bytes;
  }();
  return all[blob];
}

class LocalBlobStoreFaultsTest : public ::testing::Test {
 protected:
  // What the callers of the store were told.
  struct Told {
    std::set<uint8_t> stored;
    std::set<uint8_t> failed;
  };

  static std::unique_ptr<LocalBlobStore> Open(FaultFileSystem& fs) {
    auto store = LocalBlobStore::Open(kFolder, {}, nullptr, nullptr, fs);
    EXPECT_OK(store);
    return store.ok() ? *std::move(store) : nullptr;
  }

  static absl::Status Put(BlobStore& store, uint8_t blob) {
    const std::string& bytes = BytesOf(blob);
    StringSource source(bytes, /*piece_size=*/60'000);
    // As of uploads, of which some tell their size, or a wrong one.
    std::optional<int64_t> size = std::ssize(bytes) + blob % 3 * 1000;
    if (blob == kLast) size = std::nullopt;
    return store.Put(Id(blob), source, size).status();
  }

  static void PutAll(BlobStore& store, Told& told) {
    for (uint8_t blob = kFirst; blob <= kLast; ++blob) {
      const absl::Status stored = Put(store, blob);
      (stored.ok() ? told.stored : told.failed).insert(blob);
      const std::optional<Reason> reason = ReasonOf(stored);
      EXPECT_TRUE(stored.ok() || reason == Reason::kStorageIo || reason == Reason::kStorageFull)
          << stored;
    }
  }

  static std::set<uint8_t> Listed(const BlobStore& store) {
    std::set<uint8_t> blobs;
    EXPECT_OK(store.List([&](const BlobInfo& info) {
      for (uint8_t blob = 0; blob <= kAfterwards; ++blob)
        if (info.id == Id(blob)) blobs.insert(blob);
      return absl::OkStatus();
    }));
    return blobs;
  }

  static void ExpectWhole(const BlobStore& store, uint8_t blob) {
    const auto opened = store.Open(Id(blob));
    ASSERT_OK(opened);
    std::string bytes(static_cast<size_t>((*opened)->size_bytes()), '\0');
    ASSERT_OK((*opened)->ReadAt(0, std::span<char>(bytes)));
    EXPECT_TRUE(bytes == BytesOf(blob)) << "blob " << int{blob} << " is damaged";
  }

  // Whatever there is is whole, all that was acknowledged is there, and no part is.
  static void ExpectAsTold(FaultFileSystem& fs, const BlobStore& store, const Told& told) {
    const std::set<uint8_t> listed = Listed(store);
    for (const uint8_t blob : told.stored) EXPECT_TRUE(listed.contains(blob)) << int{blob};
    for (const uint8_t blob : listed) ExpectWhole(store, blob);
    EXPECT_TRUE(fs.List(absl::StrCat(kFolder, "/tmp"), [](const FileSystem::Entry& part) {
      ADD_FAILURE() << part.name << " was left";
      return true;
    }));
  }

  // As after every crash.
  static void ExpectRecovers(FaultFileSystem& fs, const Told& told) {
    const std::unique_ptr<LocalBlobStore> store = Open(fs);
    ASSERT_NE(store, nullptr);
    ExpectAsTold(fs, *store, told);
    EXPECT_OK(Put(*store, kAfterwards));
    ExpectWhole(*store, kAfterwards);
  }

  // Calls `run` for each seed with a fault at the first call, the second, and so on, until it says
  // that none has struck, on a disk with a store that has one blob.
  static void ForEachCall(uint64_t seeds,
                          const std::function<bool(FaultFileSystem&, int nth)>& run) {
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      bool has_struck = true;
      for (int nth = 1; has_struck; ++nth) {
        SCOPED_TRACE(absl::StrCat("seed ", seed, ", call ", nth));
        FaultFileSystem fs(seed);
        if (seed % 2 == 1) fs.ForgetRenameToNew();
        ASSERT_OK(Put(*Open(fs), kStored));
        has_struck = run(fs, nth);
        ASSERT_FALSE(HasFailure());
      }
    }
  }
};

TEST_F(LocalBlobStoreFaultsTest, WhatWasAcknowledgedIsThereAfterACrashInAnyCall) {
  for (const Loss loss : kLosses) {
    ForEachCall(kSeeds, [&](FaultFileSystem& fs, int nth) {
      Told told{{kStored}, {}};
      const std::unique_ptr<LocalBlobStore> store = Open(fs);
      fs.StopAtNth(nth);
      PutAll(*store, told);
      const bool has_struck = fs.has_struck();
      fs.Restart(loss);
      ExpectRecovers(fs, told);
      return has_struck;
    });
  }
}

TEST_F(LocalBlobStoreFaultsTest, NoTornWriteIsTakenForABlob) {
  for (int64_t kept = 0; kept <= 12'288; kept += FaultFileSystem::kSectorSize) {
    ForEachCall(1, [&](FaultFileSystem& fs, int nth) {
      Told told{{kStored}, {}};
      const std::unique_ptr<LocalBlobStore> store = Open(fs);
      fs.StopAtNth(nth);
      for (const uint8_t blob : {uint8_t{3}, uint8_t{4}})
        if (Put(*store, blob).ok()) told.stored.insert(blob);
      const bool has_struck = fs.has_struck();
      fs.Restart(Loss::kNothing, kept);
      ExpectRecovers(fs, told);
      return has_struck;
    });
  }
}

TEST_F(LocalBlobStoreFaultsTest, WhatFailsIsNotThereAndLeavesNothing) {
  for (const int error : kErrors) {
    ForEachCall(kSeeds, [&](FaultFileSystem& fs, int nth) {
      Told told{{kStored}, {}};
      const std::unique_ptr<LocalBlobStore> store = Open(fs);
      fs.FailNth(nth, error);
      PutAll(*store, told);
      const bool has_struck = fs.has_struck();
      fs.Heal();
      EXPECT_LE(told.failed.size(), 1u);
      ExpectAsTold(fs, *store, told);
      for (const uint8_t blob : told.failed) EXPECT_FALSE(Listed(*store).contains(blob));
      fs.Restart(Loss::kAny);
      ExpectRecovers(fs, told);
      return has_struck;
    });
  }
}

TEST_F(LocalBlobStoreFaultsTest, WhatWasAcknowledgedIsThereAfterADiskHasDied) {
  for (const int error : kErrors) {
    ForEachCall(kSeeds, [&](FaultFileSystem& fs, int nth) {
      Told told{{kStored}, {}};
      const std::unique_ptr<LocalBlobStore> store = Open(fs);
      fs.FailFromNth(nth, error);
      PutAll(*store, told);
      const bool has_struck = fs.has_struck();
      fs.Restart(Loss::kAny);
      ExpectRecovers(fs, told);
      return has_struck;
    });
  }
}

TEST_F(LocalBlobStoreFaultsTest, WhatWasDeletedStaysAwayOnceThatIsSynced) {
  for (const Loss loss : kLosses) {
    ForEachCall(kSeeds, [&](FaultFileSystem& fs, int nth) {
      const std::unique_ptr<LocalBlobStore> store = Open(fs);
      EXPECT_OK(Put(*store, kFirst));
      fs.StopAtNth(nth);
      // The first one is told of twice, as by an upload that fails and then by the sweep.
      const bool is_deleted = store->Delete(Id(kStored)).ok() && store->Delete(Id(kFirst)).ok() &&
                              store->Delete(Id(kStored)).ok() && store->SyncDeletes().ok();
      const bool has_struck = fs.has_struck();
      EXPECT_NE(is_deleted, has_struck);
      fs.Restart(loss);
      ExpectRecovers(fs, {});
      if (is_deleted) {
        EXPECT_THAT(Listed(*Open(fs)), ::testing::ElementsAre(kAfterwards));
      }
      return has_struck;
    });
  }
}

TEST_F(LocalBlobStoreFaultsTest, DeletesThatCouldNotBeSyncedAreSyncedByTheNext) {
  FaultFileSystem fs(/*seed=*/0);
  const std::unique_ptr<LocalBlobStore> store = Open(fs);
  ASSERT_OK(Put(*store, kFirst));
  ASSERT_OK(store->Delete(Id(kFirst)));
  fs.FailNth(1, EIO);
  EXPECT_THAT(store->SyncDeletes(), HasReason(Reason::kStorageIo));
  fs.FailNth(1, EIO);
  EXPECT_THAT(store->SyncDeletes(), HasReason(Reason::kStorageIo));
  EXPECT_OK(store->SyncDeletes());
  // Nothing is left to be synced.
  fs.FailNth(1, EIO);
  EXPECT_OK(store->SyncDeletes());
}

TEST_F(LocalBlobStoreFaultsTest, SyncsAllFoldersButThoseThatCannotBe) {
  FaultFileSystem fs(/*seed=*/0);
  const std::unique_ptr<LocalBlobStore> store = Open(fs);
  ASSERT_OK(store->Delete(*BlobId::FromBytes(std::string(BlobId::kSize, '\x01'))));
  ASSERT_OK(store->Delete(*BlobId::FromBytes(std::string(BlobId::kSize, '\x02'))));
  fs.FailNth(1, EIO);
  EXPECT_THAT(store->SyncDeletes(), HasReason(Reason::kStorageIo));
  // Only the first one is left.
  fs.FailNth(2, EIO);
  EXPECT_OK(store->SyncDeletes());
  EXPECT_FALSE(fs.has_struck());
}

TEST_F(LocalBlobStoreFaultsTest, SyncsNoFurtherFolderOnceItIsToldToStop) {
  FaultFileSystem fs(/*seed=*/0);
  const std::unique_ptr<LocalBlobStore> store = Open(fs);
  ASSERT_OK(store->Delete(Id(kFirst)));
  store->StopWaiting();
  fs.FailNth(1, EIO);
  EXPECT_TRUE(absl::IsCancelled(store->SyncDeletes()));
  EXPECT_FALSE(fs.has_struck());
}

TEST_F(LocalBlobStoreFaultsTest, OpensAfterACrashInAnyCallOfAnEarlierStart) {
  for (const Loss loss : kLosses) {
    ForEachCall(2, [&](FaultFileSystem& fs, int nth) {
      // A part of what was killed.
      EXPECT_NE(fs.Create(absl::StrCat(kFolder, "/tmp/part"), 0), nullptr);
      fs.StopAtNth(nth);
      const bool is_open = LocalBlobStore::Open(kFolder, {}, nullptr, nullptr, fs).ok();
      const bool has_struck = fs.has_struck();
      EXPECT_NE(is_open, has_struck);
      fs.Restart(loss);
      ExpectRecovers(fs, {{kStored}, {}});
      return has_struck;
    });
  }
}

TEST_F(LocalBlobStoreFaultsTest, IsMadeAfterACrashInAnyCallOfItsFirstStart) {
  for (const Loss loss : kLosses) {
    bool has_struck = true;
    for (int nth = 1; has_struck; ++nth) {
      SCOPED_TRACE(absl::StrCat("seed ", nth, ", call ", nth));
      FaultFileSystem fs(static_cast<uint64_t>(nth));
      fs.StopAtNth(nth);
      const bool is_open = LocalBlobStore::Open(kFolder, {}, nullptr, nullptr, fs).ok();
      has_struck = fs.has_struck();
      EXPECT_NE(is_open, has_struck);
      fs.Restart(loss);
      ExpectRecovers(fs, {});
      fs.Restart(Loss::kEverything);
      ExpectAsTold(fs, *Open(fs), {{kAfterwards}, {}});
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(LocalBlobStoreFaultsTest, ReadsWhatWasWrittenOrSaysThatItCannot) {
  ForEachCall(1, [&](FaultFileSystem& fs, int nth) {
    const std::unique_ptr<LocalBlobStore> store = Open(fs);
    EXPECT_OK(Put(*store, kFirst));
    fs.FailNth(nth, EIO);
    const auto read = [&]() -> absl::StatusOr<std::string> {
      ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> blob, store->Open(Id(kFirst)));
      std::string bytes(static_cast<size_t>(blob->size_bytes()), '\0');
      RETURN_IF_ERROR(blob->ReadAt(0, std::span<char>(bytes)));
      return bytes;
    };
    const absl::StatusOr<std::string> bytes = read();
    const absl::Status listed = store->List([](const BlobInfo&) { return absl::OkStatus(); });
    EXPECT_TRUE(bytes.ok() ? *bytes == BytesOf(kFirst)
                           : ReasonOf(bytes.status()) == Reason::kStorageIo);
    EXPECT_TRUE(listed.ok() || ReasonOf(listed) == Reason::kStorageIo);
    const bool has_struck = fs.has_struck();
    fs.Heal();
    ExpectWhole(*store, kFirst);
    return has_struck;
  });
}

TEST_F(LocalBlobStoreFaultsTest, AFullDiskTakesNoMoreAndLosesNothing) {
  constexpr int64_t kCapacity = int64_t{24} << 20;
  FaultFileSystem fs(/*seed=*/0);
  fs.SetCapacity(kCapacity);
  const std::unique_ptr<LocalBlobStore> store = Open(fs);
  const std::string bytes = testing::PseudoRandomBytes(3 * kPieceSize);
  std::vector<uint8_t> stored;
  absl::Status result;
  for (uint8_t blob = 100; result.ok(); ++blob) {
    StringSource source(bytes, /*piece_size=*/60'000);
    // Every other one does not say how large it is.
    const auto size = blob % 2 == 0 ? std::optional<int64_t>(std::ssize(bytes)) : std::nullopt;
    result = store->Put(Id(blob), source, size).status();
    if (result.ok()) stored.push_back(blob);
  }
  EXPECT_THAT(result, HasReason(Reason::kStorageFull));
  EXPECT_GT(stored.size(), 2u);
  // Nothing is left of what failed; and somebody else has room for small files.
  EXPECT_GT(fs.Create("/other", 0)->Disk()->free_bytes, kCapacity / 16);
  fs.Restart(Loss::kEverything);
  const std::unique_ptr<LocalBlobStore> again = Open(fs);
  for (const uint8_t blob : stored)
    EXPECT_EQ(again->Open(Id(blob)).value()->size_bytes(), std::ssize(bytes));
  ASSERT_OK(again->Delete(Id(stored.front())));
  StringSource source(bytes);
  EXPECT_OK(again->Put(Id(99), source, std::ssize(bytes)));
}

}  // namespace
}  // namespace backup::storage
