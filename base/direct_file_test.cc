#include "base/direct_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/byte_stream.h"
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
      DirectFile file(FileSystem::Real().Create(path(), O_DIRECT));
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
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT));
  ASSERT_TRUE(file.Allocate(int64_t{16} << 20));
  ASSERT_TRUE(file.Write("bytes") && file.Flush());
  struct stat info = {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 5);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
}

TEST_P(DirectFileTest, LeavesAHoleForWhatIsSkipped) {
  constexpr int64_t kHole = int64_t{8} << 20;
  const std::string bytes = testing::PseudoRandomBytes(3 * kBufferAlignment);
  for (const bool allocated : {false, true}) {
    DirectFile file(FileSystem::Real().Create(path(), O_DIRECT));
    if (allocated) {
      ASSERT_TRUE(file.Allocate(2 * kHole + std::ssize(bytes)));
    }
    ASSERT_TRUE(file.Skip(kHole) && file.Write(bytes) && file.Skip(kHole) && file.Flush());
    EXPECT_TRUE(Content() == std::string(kHole, '\0') + bytes + std::string(kHole, '\0'));
    struct stat info = {};
    ASSERT_EQ(::stat(path().c_str(), &info), 0);
    EXPECT_LT(info.st_blocks * 512, 1 << 20) << allocated;
    std::filesystem::remove(path());
  }
}

TEST_P(DirectFileTest, TakesNothingIfThereIsNotRoomForAll) {
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT));
  EXPECT_FALSE(file.Allocate(int64_t{8} << 50));
  EXPECT_EQ(errno, ENOSPC);
}

// Ends operations when it is told to, and not in the way that they should.
class OddEngine final : public IoEngine {
 public:
  // What becomes of the next operations: how many bytes of each are written, or a negative errno.
  explicit OddEngine(std::deque<ssize_t> results) : results_(std::move(results)) {}

  bool TryStart(const IoOperation& operation, IoWaiter& waiter) override {
    if (results_.empty()) return false;
    const ssize_t result = results_.front();
    results_.pop_front();
    if (result > 0) {
      EXPECT_EQ(
          ::pwrite(operation.fd, operation.data, static_cast<size_t>(result), operation.offset),
          result);
    }
    waiter.Done(result);
    return true;
  }
  const char* name() const override { return "odd"; }
  bool is_used_up() const { return results_.empty(); }

 private:
  std::deque<ssize_t> results_;
};

constexpr size_t kPieces = 9;

// Pieces of a source whose pieces last for `lasting` more.
class RingOfPieces {
 public:
  RingOfPieces(const std::string& bytes, size_t lasting) : bytes_(bytes), count_(lasting + 1) {}

  // Makes the next piece, in the memory of the one that has lasted long enough.
  absl::string_view Next() {
    if (buffers_.size() < count_) buffers_.push_back(TakeAlignedBuffer(kPieceSize));
    char* const buffer = buffers_[next_ % count_].get();
    bytes_.copy(buffer, kPieceSize, next_++ * kPieceSize);
    return absl::string_view(buffer, kPieceSize);
  }

 private:
  const std::string& bytes_;
  const size_t count_;
  size_t next_ = 0;
  std::vector<AlignedBuffer> buffers_;
};

TEST_P(DirectFileTest, HasWhatWasWrittenSeveralPiecesAtOnce) {
  const std::string bytes = testing::PseudoRandomBytes(kPieces * kPieceSize) + "the end";
  const std::unique_ptr<IoEngine> threads = IoEngine::MakeThreads();
  const std::unique_ptr<IoEngine> uring = IoEngine::TryMakeUring();
  for (IoEngine* const engine : {uring.get(), threads.get()}) {
    for (const size_t lasting : {size_t{0}, size_t{3}, size_t{7}}) {
      BulkThrottle throttle;
      DirectFile file(FileSystem::Real().Create(path(), O_DIRECT), 0, &throttle, engine);
      ASSERT_TRUE(file.Allocate(std::ssize(bytes) + 100));
      RingOfPieces pieces(bytes, lasting);
      file.LetPiecesLast(lasting);
      for (size_t i = 0; i < kPieces; ++i) ASSERT_TRUE(file.Write(pieces.Next()));
      file.LetPiecesLast(0);
      ASSERT_TRUE(file.Write("the end") && file.Flush() && file.Sync());
      EXPECT_TRUE(Content() == bytes) << lasting;
      std::filesystem::remove(path());
    }
  }
}

TEST_P(DirectFileTest, CopiesWhatIsNotAlignedIntoBuffersThatAreWrittenAtOnce) {
  const std::string bytes = testing::PseudoRandomBytes(5 * kPieceSize + 77);
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT));
  ASSERT_TRUE(file.Allocate(std::ssize(bytes)));
  for (size_t at = 0; at < bytes.size(); at += 70'000) {
    std::string piece = bytes.substr(at, 70'000);
    ASSERT_TRUE(file.Write(piece));
  }
  ASSERT_TRUE(file.Flush() && file.Sync());
  EXPECT_TRUE(Content() == bytes);
}

// As content has it of which a part is left out: at the next block what is aligned goes on as it
// is.
TEST_P(DirectFileTest, GoesOnWithAlignedPiecesBehindABlockThatWasFilledUp) {
  const std::string bytes = testing::PseudoRandomBytes(3 * kPieceSize);
  const std::string odd = testing::PseudoRandomBytes(2 * kBufferAlignment, 2);
  RingOfPieces pieces(bytes, /*lasting=*/3);
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT));
  ASSERT_TRUE(file.Allocate(std::ssize(bytes + odd)));
  file.LetPiecesLast(3);
  ASSERT_TRUE(file.Write(pieces.Next()));
  ASSERT_TRUE(file.Write(odd.substr(0, 100)) && file.Write(odd.substr(100)));
  ASSERT_TRUE(file.Write(pieces.Next()) && file.Write(pieces.Next()));
  ASSERT_TRUE(file.Flush() && file.Sync());
  EXPECT_TRUE(Content() == bytes.substr(0, kPieceSize) + odd + bytes.substr(kPieceSize));
}

// As content has it of which a part is compressed.
TEST_P(DirectFileTest, WritesWhatWasGatheredBesideTheAlignedPiecesBehindIt) {
  const std::string bytes = testing::PseudoRandomBytes(kPieceSize);
  const std::string odd = testing::PseudoRandomBytes(32 * kBufferAlignment, 2);
  OddEngine engine({8192, 8192});
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT), 0, nullptr, &engine);
  ASSERT_TRUE(file.Allocate(std::ssize(odd + bytes + odd)));
  RingOfPieces pieces(bytes, 3);
  file.LetPiecesLast(3);
  ASSERT_TRUE(file.Write(odd.substr(0, 100)) && file.Write(odd.substr(100)));
  ASSERT_TRUE(file.Write(pieces.Next()));
  EXPECT_TRUE(engine.is_used_up() || GetParam() == "/dev/shm");
  ASSERT_TRUE(file.Write(odd.substr(0, 100)) && file.Write(odd.substr(100)));
  ASSERT_TRUE(file.Flush());
  EXPECT_TRUE(Content() == odd + bytes + odd);
}

// The end, too, is whole blocks: nothing of it is in flight any more then.
TEST_P(DirectFileTest, IsWholeOnceItIsFlushed) {
  const std::string odd = testing::PseudoRandomBytes(32 * kBufferAlignment);
  OddEngine engine({8192});
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT), 0, nullptr, &engine);
  ASSERT_TRUE(file.Allocate(2 * std::ssize(odd)));
  ASSERT_TRUE(file.Write(odd.substr(0, 100)) && file.Write(odd.substr(100)) && file.Flush());
  EXPECT_TRUE(Content() == odd);
}

TEST_P(DirectFileTest, WritesTheRestOfWhatWasWrittenInPart) {
  const std::string bytes = testing::PseudoRandomBytes(4 * kPieceSize);
  OddEngine engine({8192, -EAGAIN, 0, -EINTR});
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT), 0, nullptr, &engine);
  ASSERT_TRUE(file.Allocate(std::ssize(bytes)));
  RingOfPieces pieces(bytes, 3);
  file.LetPiecesLast(3);
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(file.Write(pieces.Next()));
  ASSERT_TRUE(file.Flush());
  EXPECT_TRUE(Content() == bytes);
  // What is no direct write, as on tmpfs, is not worth being in flight.
  EXPECT_TRUE(engine.is_used_up() || GetParam() == "/dev/shm");
}

// A disk on which the first write takes a while, and an engine that then has no room for others.
class SlowFirstWrite final : public IoEngine {
 public:
  bool TryStart(const IoOperation& operation, IoWaiter& waiter) override {
    if (writer_.joinable()) return false;
    writer_ = std::jthread([operation, &waiter] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      waiter.Done(::pwrite(operation.fd, operation.data, operation.size, operation.offset));
    });
    return true;
  }
  const char* name() const override { return "slow"; }

 private:
  std::jthread writer_;
};

TEST_P(DirectFileTest, APieceLastsNoLongerBecauseThoseBehindItAreNotInFlight) {
  const std::string bytes = testing::PseudoRandomBytes(kPieces * kPieceSize);
  SlowFirstWrite engine;
  DirectFile file(FileSystem::Real().Create(path(), O_DIRECT), 0, nullptr, &engine);
  ASSERT_TRUE(file.Allocate(std::ssize(bytes)));
  RingOfPieces pieces(bytes, 3);
  file.LetPiecesLast(3);
  for (size_t i = 0; i < kPieces; ++i) ASSERT_TRUE(file.Write(pieces.Next()));
  ASSERT_TRUE(file.Flush());
  EXPECT_TRUE(Content() == bytes);
}

// As if the disk were full from `limit` on; what is written beyond it raises no signal.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t limit) {
    PCHECK(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit small = {limit, before_.rlim_max};
    PCHECK(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  }
  ~FileSizeLimit() {
    PCHECK(::setrlimit(RLIMIT_FSIZE, &before_) == 0);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_ = {};
  const sighandler_t handler_ = ::signal(SIGXFSZ, SIG_IGN);
};

TEST_P(DirectFileTest, AWriteInFlightThatFailsIsToldInTheEndAndEverAfter) {
  const std::string bytes = testing::PseudoRandomBytes(kPieces * kPieceSize);
  const std::unique_ptr<IoEngine> threads = IoEngine::MakeThreads();
  const std::unique_ptr<IoEngine> uring = IoEngine::TryMakeUring();
  for (IoEngine* const engine : {uring.get(), threads.get()}) {
    {
      DirectFile file(FileSystem::Real().Create(path(), O_DIRECT), 0, nullptr, engine);
      ASSERT_TRUE(file.Allocate(std::ssize(bytes)));
      const FileSizeLimit limit(2 * kPieceSize);
      RingOfPieces pieces(bytes, 3);
      file.LetPiecesLast(3);
      bool is_written = true;
      for (size_t i = 0; i < 4; ++i) is_written = file.Write(pieces.Next()) && is_written;
      EXPECT_FALSE(is_written && file.Flush());
      EXPECT_EQ(errno, EFBIG);
      errno = 0;
      EXPECT_FALSE(file.Write("more"));
      EXPECT_EQ(errno, EFBIG);
      EXPECT_FALSE(file.Flush());
    }
    std::filesystem::remove(path());
  }
}

TEST_P(DirectFileTest, IsMadeOnlyWhereNothingIs) {
  std::ofstream(path()) << "mine";
  EXPECT_EQ(FileSystem::Real().Create(path(), O_DIRECT), nullptr);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(Content(), "mine");
}

}  // namespace
}  // namespace backup
