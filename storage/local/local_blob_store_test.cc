#include "storage/local/local_blob_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/piece_buffers.h"
#include "base/testing/random_cut_source.h"
#include "base/unique_fd.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "storage/testing/blob_store_contract.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasReason;

// A store in a folder of its own.
class StoreInTempFolder final : public BlobStore {
 public:
  absl::StatusOr<std::unique_ptr<StagedBlob>> Stage(const BlobId& id, ByteSource& source,
                                                    std::optional<int64_t> expected_size) override {
    return store_->Stage(id, source, expected_size);
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override {
    return store_->Open(id);
  }
  absl::StatusOr<bool> Delete(const BlobId& id) override { return store_->Delete(id); }
  absl::Status List(const std::function<absl::Status(const BlobInfo&)>& visit) const override {
    return store_->List(visit);
  }

 private:
  const TempFolder folder_;
  const std::unique_ptr<LocalBlobStore> store_ = LocalBlobStore::Open(folder_.path()).value();
};

INSTANTIATE_TEST_SUITE_P(Local, BlobStoreContract,
                         ::testing::Values([] { return std::make_unique<StoreInTempFolder>(); }));

class LocalBlobStoreTest : public ::testing::Test {
 protected:
  std::string PathOf(const BlobId& id) const {
    return folder_.path() + "/blobs/" + ToHex(id).substr(0, 2) + "/" + ToHex(id);
  }

  absl::StatusOr<int64_t> Put(BlobStore& store, const std::string& bytes,
                              std::optional<int64_t> expected_size = std::nullopt) {
    StringSource source(bytes);
    return store.Put(id_, source, expected_size);
  }

  bool HasParts() const { return !fs::is_empty(folder_.path() + "/tmp"); }

  const TempFolder folder_;
  const BlobId id_ = IdOf<BlobId>(0xAB);
};

TEST_F(LocalBlobStoreTest, KeepsABlobInTheFolderOfItsFirstByteForTheNextProcess) {
  ASSERT_OK(Put(*LocalBlobStore::Open(folder_.path()).value(), "bytes"));
  EXPECT_EQ(fs::file_size(PathOf(id_)), 5u);
  EXPECT_FALSE(HasParts());
  EXPECT_EQ(LocalBlobStore::Open(folder_.path()).value()->Open(id_).value()->size_bytes(), 5);
}

TEST_F(LocalBlobStoreTest, RemovesThePartsThatAnEarlierProcessLeft) {
  ASSERT_OK(Put(*LocalBlobStore::Open(folder_.path()).value(), "bytes"));
  std::ofstream(folder_.path() + "/tmp/00112233445566778899aabbccddeeff.1") << "half a blo";
  ASSERT_TRUE(HasParts());
  const auto store = LocalBlobStore::Open(folder_.path());
  ASSERT_OK(store);
  EXPECT_FALSE(HasParts());
  EXPECT_OK((*store)->Open(id_));
}

TEST_F(LocalBlobStoreTest, LeavesNoPartWhenThereIsABlobOfThisId) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  ASSERT_OK(Put(*store, "bytes"));
  EXPECT_THAT(Put(*store, "other"), HasReason(Reason::kStorageIo));
  EXPECT_FALSE(HasParts());
}

TEST_F(LocalBlobStoreTest, LeavesNoPartOfWhatIsNotCommitted) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  StringSource source("bytes");
  auto staged = store->Stage(id_, source, std::nullopt);
  ASSERT_OK(staged);
  EXPECT_TRUE(HasParts());
  staged->reset();
  EXPECT_FALSE(HasParts());
}

TEST_F(LocalBlobStoreTest, GivesBackSpaceThatWasAllocatedInVain) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  ASSERT_OK(Put(*store, "bytes", int64_t{64} << 20));
  struct stat info = {};
  ASSERT_EQ(::stat(PathOf(id_).c_str(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
}

TEST_F(LocalBlobStoreTest, SaysThatTheDiskIsFullAndLeavesNoPart) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  // More than any disk the tests run on has free.
  EXPECT_THAT(Put(*store, "bytes", int64_t{8} << 40), HasReason(Reason::kStorageFull));
  EXPECT_FALSE(HasParts());
}

// As if the disk were full once a file has `limit` bytes.
absl::StatusOr<int64_t> PutUnderFileSizeLimit(BlobStore& store, ByteSource& source, rlim_t limit) {
  rlimit before = {};
  CHECK_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {limit, before.rlim_max};
  CHECK_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  absl::StatusOr<int64_t> stored = store.Put(IdOf<BlobId>(1), source, std::nullopt);
  CHECK_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  return stored;
}

// At the end of a block and within one, from pieces that go to the disk as they are and from
// others.
TEST_F(LocalBlobStoreTest, LeavesNothingWhenAWriteFails) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  const std::string bytes = testing::PseudoRandomBytes(3 * kPieceSize + 1);
  for (const rlim_t limit : {kPieceSize, kPieceSize + 4096, kPieceSize + 512, kPieceSize + 1}) {
    StringSource unaligned(bytes, /*piece_size=*/5000);
    EXPECT_THAT(PutUnderFileSizeLimit(*store, unaligned, limit), HasReason(Reason::kStorageFull));
    StringSource source(bytes);
    PieceBudget budget;
    GatherSource aligned(source, budget, std::nullopt);
    EXPECT_THAT(PutUnderFileSizeLimit(*store, aligned, limit), HasReason(Reason::kStorageFull));
    EXPECT_FALSE(HasParts());
    EXPECT_OK(store->List([](const BlobInfo&) { return absl::InternalError("there is a blob"); }));
  }
  EXPECT_OK(Put(*store, bytes));
}

TEST_F(LocalBlobStoreTest, StoresAlignedPiecesOfAnySize) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  for (const size_t size : {size_t{1}, size_t{4096}, kPieceSize, 2 * kPieceSize + 4097}) {
    const std::string bytes = testing::PseudoRandomBytes(size);
    StringSource source(bytes);
    PieceBudget budget;
    GatherSource aligned(source, budget, std::nullopt);
    ASSERT_OK(store->Put(id_, aligned, std::nullopt));
    std::string read(size, '\0');
    ASSERT_OK(store->Open(id_).value()->ReadAt(0, std::span<char>(read)));
    EXPECT_TRUE(read == bytes) << size;
    ASSERT_OK(store->Delete(id_));
  }
}

TEST_F(LocalBlobStoreTest, ReadsWhatIsInThePageCacheAndWhatIsNot) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  const std::string bytes = testing::PseudoRandomBytes(3 * kPieceSize + 4097);
  ASSERT_OK(Put(*store, bytes));
  const UniqueFd fd(::open(PathOf(id_).c_str(), O_RDONLY));
  const auto blob = store->Open(id_).value();
  for (const bool is_cached : {false, true}) {
    std::string piece(kPieceSize, '\0');
    ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    for (off_t at = 0; is_cached && at < std::ssize(bytes); at += std::ssize(piece))
      ASSERT_GT(::pread(fd.get(), piece.data(), piece.size(), at), 0);
    for (const int64_t offset : {0, 4096, 5000}) {
      PieceBudget budget;
      RangeSource range(*blob, budget, offset, std::ssize(bytes) - offset);
      EXPECT_TRUE(ReadAll(range, bytes.size()).value() == bytes.substr(offset))
          << offset << " cached: " << is_cached;
    }
  }
}

TEST_F(LocalBlobStoreTest, SkipsFilesThatAreNoBlobs) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  std::ofstream(folder_.path() + "/blobs/00/notes.txt") << "by hand";
  EXPECT_OK(store->List([](const BlobInfo&) { return absl::InternalError("there is a blob"); }));
}

TEST_F(LocalBlobStoreTest, DoesNotOpenWhereItCannotMakeItsFolders) {
  std::ofstream(folder_.path() + "/file") << "in the way";
  EXPECT_THAT(LocalBlobStore::Open(folder_.path() + "/file"), HasReason(Reason::kStorageIo));
}

TEST_F(LocalBlobStoreTest, StoresNothingWhileTheReserveIsNeeded) {
  SpaceReserve reserve(folder_.path() + "/reserve");
  ASSERT_TRUE(reserve.Restore());
  const auto store = LocalBlobStore::Open(folder_.path() + "/store", {}, &reserve).value();
  reserve.Release();
  EXPECT_THAT(Put(*store, "bytes"), HasReason(Reason::kStorageFull));
  ASSERT_TRUE(reserve.Restore());
  EXPECT_OK(Put(*store, "bytes"));
}

TEST_F(LocalBlobStoreTest, DeletesWithoutADescriptor) {
  const auto store = LocalBlobStore::Open(folder_.path()).value();
  ASSERT_OK(Put(*store, "bytes"));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::StatusOr<bool> deleted = store->Delete(id_);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(deleted, testing::IsOkAndHolds(true));
}

TEST_F(LocalBlobStoreTest, CountsSyncsErrorsAndWhatItRemoved) {
  Metrics metrics;
  LocalBlobStore::Open(folder_.path()).value();
  std::ofstream(folder_.path() + "/tmp/00112233445566778899aabbccddeeff.1") << "half a blo";
  const auto store = LocalBlobStore::Open(folder_.path(), StorageMetrics(metrics)).value();
  ASSERT_OK(Put(*store, "bytes"));
  fs::remove(PathOf(id_));
  fs::create_directory(PathOf(id_));
  EXPECT_THAT(store->Delete(id_), HasReason(Reason::kStorageIo));
  // Three folders when it was opened; the file and its folder.
  EXPECT_THAT(
      metrics.Text(),
      ::testing::AllOf(::testing::HasSubstr("backup_storage_fsync_duration_seconds_count 5\n"),
                       ::testing::HasSubstr("backup_storage_io_errors_total{op=\"delete\"} 1\n"),
                       ::testing::HasSubstr("backup_storage_orphans_removed_total 1\n"),
                       ::testing::HasSubstr("backup_storage_temp_bytes 0\n")));
}

TEST_F(LocalBlobStoreTest, CountsTheBytesOfBlobsThatAreNotWhole) {
  class Looking final : public ByteSource {
   public:
    explicit Looking(const Metrics& metrics) : metrics_(metrics) {}
    absl::StatusOr<absl::string_view> Read() override {
      if (++reads_ == 3) during_ = metrics_.Text();
      return reads_ < 3 ? absl::string_view(piece_) : absl::string_view();
    }
    const std::string& during() const { return during_; }

   private:
    const Metrics& metrics_;
    const std::string piece_ = std::string(kPieceSize, 'x');
    int reads_ = 0;
    std::string during_;
  };
  Metrics metrics;
  const auto store = LocalBlobStore::Open(folder_.path(), StorageMetrics(metrics)).value();
  Looking source(metrics);
  ASSERT_OK(store->Put(id_, source, std::nullopt));
  EXPECT_THAT(source.during(), ::testing::ContainsRegex("\nbackup_storage_temp_bytes [1-9]"));
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("backup_storage_temp_bytes 0\n"));
}

}  // namespace
}  // namespace backup::storage
