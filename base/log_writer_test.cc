#include "base/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr absl::Duration kGenerous = absl::Seconds(60);
// As in the code.
constexpr absl::Duration kStuckAfter = absl::Seconds(1);
constexpr absl::Duration kShort = absl::Milliseconds(50);

class LogWriterTest : public ::testing::Test {
 protected:
  LogWriterTest() {
    int ends[2];
    PCHECK(::pipe2(ends, O_CLOEXEC) == 0);
    read_end_ = UniqueFd(ends[0]);
    write_end_ = UniqueFd(ends[1]);
    ::fcntl(write_end_.get(), F_SETPIPE_SZ, 4096);
    ::signal(SIGPIPE, SIG_IGN);
  }

  static void Log(LogWriter& log, absl::string_view text) {
    const std::string line = absl::StrCat("I20260102 03:04:05.678901  42 file.cc:7] ", text, "\n");
    log.Write(/*force_flush=*/false, /*time=*/0, line.data(), line.size());
  }

  // What comes until nothing comes for a while.
  std::string ReadSome() {
    std::string all;
    pollfd bytes = {read_end_.get(), POLLIN, 0};
    while (::poll(&bytes, 1, /*timeout=*/200) > 0) {
      char buffer[4096];
      const ssize_t size = ::read(read_end_.get(), buffer, sizeof(buffer));
      if (size <= 0) break;
      all.append(buffer, static_cast<size_t>(size));
    }
    return all;
  }

  std::vector<std::string> ReadSomeLines() {
    return absl::StrSplit(ReadSome(), '\n', absl::SkipEmpty());
  }

  UniqueFd read_end_;
  UniqueFd write_end_;
};

TEST_F(LogWriterTest, WritesLinesInOrderAndAsTheyAre) {
  LogWriter log(write_end_.get());
  Log(log, "first");
  Log(log, "second");
  ASSERT_TRUE(log.WaitUntilWritten(kGenerous));
  EXPECT_EQ(ReadSome(),
            "I20260102 03:04:05.678901  42 file.cc:7] first\n"
            "I20260102 03:04:05.678901  42 file.cc:7] second\n");
}

TEST_F(LogWriterTest, NeverMakesALoggerWaitForAReader) {
  LogWriter log(write_end_.get());
  const std::string text(1000, 'x');
  for (int i = 0; i < 1000; ++i) Log(log, text);
  EXPECT_FALSE(log.WaitUntilWritten(kShort));
  EXPECT_EQ(log.lost_lines(), 0);
  EXPECT_THAT(ReadSomeLines(), SizeIs(1000));
  EXPECT_TRUE(log.WaitUntilWritten(kGenerous));
}

TEST_F(LogWriterTest, TellsWhileNobodyTakesTheLines) {
  LogWriter log(write_end_.get());
  EXPECT_TRUE(log.Check().ok());
  const std::string text(1000, 'x');
  for (int i = 0; i < 10; ++i) Log(log, text);
  EXPECT_FALSE(log.WaitUntilWritten(2 * kStuckAfter));
  EXPECT_THAT(std::string(log.Check().message()), HasSubstr("nobody takes the log"));
  EXPECT_THAT(ReadSomeLines(), SizeIs(10));
  EXPECT_TRUE(log.WaitUntilWritten(kGenerous));
  EXPECT_TRUE(log.Check().ok());
}

TEST_F(LogWriterTest, CountsLinesThatCannotBeWrittenAndTellsOfThemLater) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const UniqueFd fd(::dup(full.get()));
  LogWriter log(fd.get());
  for (const char* text : {"first", "second"}) {
    Log(log, text);
    EXPECT_TRUE(log.WaitUntilWritten(kGenerous));
  }
  EXPECT_EQ(log.lost_lines(), 2);
  EXPECT_THAT(std::string(log.Check().message()), HasSubstr("No space left on device"));
  ASSERT_GE(::dup2(write_end_.get(), fd.get()), 0);
  Log(log, "third");
  ASSERT_TRUE(log.WaitUntilWritten(kGenerous));
  EXPECT_TRUE(log.Check().ok());
  EXPECT_EQ(log.lost_lines(), 2);
  EXPECT_THAT(ReadSome(), ContainsRegex("2 log lines were lost: nobody took them\n.* third\n$"));
}

TEST_F(LogWriterTest, GoesOnInTheFileThatHasItsPath) {
  std::string folder = ::testing::TempDir() + "/log-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/log";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  LogWriter log(fd.get());
  Log(log, "old");
  ASSERT_TRUE(log.WaitUntilWritten(kGenerous));
  ASSERT_EQ(::rename(path.c_str(), (path + ".1").c_str()), 0);
  log.ReopenFile();
  Log(log, "new");
  ASSERT_TRUE(log.WaitUntilWritten(kGenerous));
  const auto size = [](const std::string& of) { return std::filesystem::file_size(of); };
  EXPECT_EQ(size(path), size(path + ".1"));
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::status(path + ".1").permissions());
  std::filesystem::remove_all(folder);
}

TEST_F(LogWriterTest, TellsHowManyLinesWereLostWhereTheyWere) {
  LogWriter log(write_end_.get(), /*max_queued_bytes=*/100'000);
  const std::string text(1000, 'x');
  int logged = 0;
  for (; logged < 50; ++logged) Log(log, text);
  ASSERT_FALSE(log.WaitUntilWritten(kShort));  // The pipe is full from here on.
  while (log.lost_lines() < 25) {
    Log(log, text);
    ++logged;
  }
  const std::vector<std::string> lines = ReadSomeLines();
  ASSERT_THAT(lines, SizeIs(logged - 25 + 1));
  EXPECT_THAT(
      lines.back(),
      ContainsRegex(
          "^W[0-9]+ [0-9:]+\\.[0-9]+ +[0-9]+ log_writer\\.cc:[0-9]+\\] 25 log lines were lost"));
  Log(log, "room again");
  EXPECT_THAT(ReadSome(), EndsWith("] room again\n"));
  Log(log, "and again");
  EXPECT_THAT(ReadSome(), EndsWith("] and again\n"));
  EXPECT_EQ(log.lost_lines(), 25);
}

TEST_F(LogWriterTest, WritesAllBeforeItEnds) {
  {
    LogWriter log(write_end_.get());
    Log(log, "last");
  }
  EXPECT_THAT(ReadSome(), EndsWith("] last\n"));
}

TEST_F(LogWriterTest, EndsIfTheReaderIsGone) {
  LogWriter log(write_end_.get());
  for (int i = 0; i < 100; ++i) Log(log, std::string(1000, 'x'));
  read_end_.Reset();
  EXPECT_TRUE(log.WaitUntilWritten(kGenerous));
}

TEST_F(LogWriterTest, AddsItsLossesToTheMetrics) {
  LogWriter log(write_end_.get(), /*max_queued_bytes=*/0);
  Metrics metrics;
  AddLogMetrics(metrics, log);
  Log(log, "lost");
  EXPECT_THAT(metrics.Text(), HasSubstr("\nbackup_log_lines_lost_total 1"));
}

using LogWriterDeathTest = LogWriterTest;

TEST_F(LogWriterDeathTest, WritesAFailedCheckAndWhatCameBeforeIt) {
  const auto fail = [] {
    google::InitGoogleLogging("log_writer_test");
    LogWriter& log = *new LogWriter(STDERR_FILENO);
    log.TakeOver();
    LOG(ERROR) << "before";
    CHECK(false) << "at last";
  };
  // Each once, though glog has a file for each severity.
  EXPECT_DEATH(fail(),
               "^E[0-9]+ [0-9:.]+ +[0-9]+ log_writer_test\\.cc:[0-9]+\\] before\n"
               "F[^\n]*Check failed: false at last *\n\\*\\*\\* Check failure stack trace");
}

TEST_F(LogWriterDeathTest, EndsByAFailedCheckThoughNobodyReads) {
  const auto fail = [&] {
    ::dup2(write_end_.get(), STDERR_FILENO);
    google::InitGoogleLogging("log_writer_test");
    LogWriter& log = *new LogWriter(STDERR_FILENO);
    log.TakeOver();
    for (int i = 0; i < 100; ++i) LOG(INFO) << std::string(1000, 'x');
    CHECK(false);
  };
  EXPECT_EXIT(fail(), ::testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace backup
