#include "base/io_queue.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/io_engine.h"
#include "base/testing/random_cut_source.h"
#include "base/unique_fd.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using Kind = IoOperation::Kind;

constexpr size_t kSize = 100'000;

struct EngineKind {
  const char* name;
  std::unique_ptr<IoEngine> (*make)(ThreadStarter);
};

class IoQueueTest : public ::testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    if (engine_ == nullptr) GTEST_SKIP() << "this kernel or sandbox has no " << GetParam().name;
  }
  static UniqueFd NewFile() {
    const std::string folder = ::testing::TempDir();
    UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    PCHECK(fd.valid());
    return fd;
  }

  const UniqueFd file_ = NewFile();
  const std::unique_ptr<IoEngine> engine_ = GetParam().make(TryStartThread);
};

INSTANTIATE_TEST_SUITE_P(
    Engines, IoQueueTest,
    ::testing::Values(
        EngineKind{"io_uring", [](ThreadStarter start) { return IoEngine::TryMakeUring(start); }},
        EngineKind{"threads",
                   [](ThreadStarter start) { return IoEngine::MakeThreads(std::move(start)); }}),
    [](const auto& engine) { return engine.param.name; });

TEST_P(IoQueueTest, ReadsWhatItWroteInTheOrderOfTheStarts) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < IoQueue::kMaxDepth; ++i)
    parts.push_back(testing::PseudoRandomBytes(kSize + i));
  {
    IoQueue queue(engine_.get());
    for (size_t i = 0; i < parts.size(); ++i) {
      ASSERT_TRUE(queue.TryStart({Kind::kWrite, file_.get(), parts[i].data(), parts[i].size(),
                                  static_cast<int64_t>(i * 2 * kSize)},
                                 nullptr));
    }
    EXPECT_FALSE(queue.TryStart({Kind::kWrite, file_.get(), parts[0].data(), 1, 0}, nullptr));
    for (size_t i = 0; i < parts.size(); ++i)
      EXPECT_EQ(queue.Finish(), static_cast<ssize_t>(kSize + i));
    EXPECT_EQ(queue.in_flight(), 0u);
  }
  std::vector<std::string> read(parts.size(), std::string(kSize, '\0'));
  IoQueue queue(engine_.get());
  for (size_t i = 0; i < parts.size(); ++i) {
    ASSERT_TRUE(queue.TryStart(
        {Kind::kRead, file_.get(), read[i].data(), kSize, static_cast<int64_t>(i * 2 * kSize)},
        nullptr));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(queue.Finish(), static_cast<ssize_t>(kSize));
    EXPECT_TRUE(read[i] == parts[i].substr(0, kSize)) << i;
  }
}

TEST_P(IoQueueTest, TellsErrorsAndTheEndOfTheFile) {
  std::string bytes = "bytes";
  IoQueue queue(engine_.get());
  ASSERT_TRUE(queue.TryStart({Kind::kRead, file_.get(), bytes.data(), bytes.size(), 0}, nullptr));
  EXPECT_EQ(queue.Finish(), 0);
  ASSERT_TRUE(queue.TryStart({Kind::kRead, -1, bytes.data(), bytes.size(), 0}, nullptr));
  EXPECT_EQ(queue.Finish(), -EBADF);
}

TEST_P(IoQueueTest, WaitsAtItsEndForWhatIsInFlight) {
  std::string bytes = testing::PseudoRandomBytes(kSize);
  {
    IoQueue queue(engine_.get());
    ASSERT_TRUE(
        queue.TryStart({Kind::kWrite, file_.get(), bytes.data(), bytes.size(), 0}, nullptr));
  }
  std::string read(kSize, '\0');
  ASSERT_EQ(::pread(file_.get(), read.data(), kSize, 0), static_cast<ssize_t>(kSize));
  EXPECT_TRUE(read == bytes);
}

TEST_P(IoQueueTest, ServesManyQueuesAtOnceAndNeverMoreThanItsBound) {
  constexpr int kQueues = 40;
  const auto throttle = std::make_unique<BulkThrottle>();
  std::vector<std::jthread> threads;
  for (int i = 0; i < kQueues; ++i) {
    threads.emplace_back([&, i] {
      std::string bytes(kSize, static_cast<char>('0' + i));
      IoQueue queue(engine_.get());
      for (int n = 0; n < 50; ++n) {
        const IoOperation write = {Kind::kWrite, file_.get(), bytes.data(), bytes.size(),
                                   static_cast<int64_t>(i) * static_cast<int64_t>(kSize)};
        if (queue.TryStart(write, throttle.get())) continue;
        const ssize_t written = queue.in_flight() > 0
                                    ? queue.Finish()
                                    : ::pwrite(write.fd, write.data, write.size, write.offset);
        EXPECT_EQ(written, static_cast<ssize_t>(kSize));
      }
    });
  }
  threads.clear();
  for (int i = 0; i < kQueues; ++i) {
    char byte = 0;
    ASSERT_EQ(::pread(file_.get(), &byte, 1, static_cast<int64_t>(i) * static_cast<int64_t>(kSize)),
              1);
    EXPECT_EQ(byte, static_cast<char>('0' + i));
  }
}

// Recovery may never need a thread that the system has no room for.
TEST_P(IoQueueTest, StartsNothingWhereNoThreadCanBeMade) {
  const ThreadStarter none = [](const std::function<void()>&) { return std::nullopt; };
  const std::unique_ptr<IoEngine> engine = GetParam().make(none);
  if (engine == nullptr) return;  // io_uring needs one from the beginning.
  std::string bytes = "bytes";
  IoQueue queue(engine.get());
  EXPECT_FALSE(queue.TryStart({Kind::kWrite, file_.get(), bytes.data(), bytes.size(), 0}, nullptr));
  EXPECT_EQ(queue.in_flight(), 0u);
}

}  // namespace
}  // namespace backup
