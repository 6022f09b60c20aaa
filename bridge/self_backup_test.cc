#include "bridge/self_backup.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

namespace fs = std::filesystem;
using ::backup::testing::StatusIs;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SelfBackupTest : public ::testing::Test {
 protected:
  SelfBackupTest()
      : directory_(::testing::TempDir() + "/self_backup." +
                   ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(directory_);
    fs::create_directories(directory_ + "/sources/sub");
    std::ofstream(directory_ + "/sources/main.cc") << "main";
    std::ofstream(directory_ + "/sources/sub/part.cc") << "part";
  }

  // A client that is this shell script; $1 is what a real one gets.
  SelfBackupOptions Options(const std::string& script) {
    const std::string program = directory_ + "/client";
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    ::chmod(program.c_str(), 0700);
    return {directory_ + "/sources", program, "127.0.0.1:1357"};
  }

  const std::string directory_;
};

TEST_F(SelfBackupTest, GivesTheClientATransferInfoWithEveryFile) {
  const std::string copy = directory_ + "/seen";
  ASSERT_OK(BackUpDirectory(Options("cp \"${1#--dir=}/transfer.info\" " + copy), {}));
  std::ostringstream seen;
  seen << std::ifstream(copy).rdbuf();
  EXPECT_THAT(seen.str(), StartsWith("127.0.0.1:1357\nself-test-"));
  EXPECT_THAT(seen.str(), HasSubstr("/sources/main.cc\n"));
  EXPECT_THAT(seen.str(), EndsWith("/sources/sub/part.cc\n"));
}

TEST_F(SelfBackupTest, RemovesTheTemporaryFolder) {
  const std::string copy = directory_ + "/seen";
  ASSERT_OK(BackUpDirectory(Options("printf %s \"${1#--dir=}\" > " + copy), {}));
  std::string folder;
  std::getline(std::ifstream(copy), folder);
  ASSERT_FALSE(folder.empty());
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(SelfBackupTest, TellsThatTheClientFailed) {
  const absl::Status failed = BackUpDirectory(Options("exit 3"), {});
  EXPECT_THAT(std::string(failed.message()), HasSubstr("exit code 3"));
  EXPECT_FALSE(
      BackUpDirectory({directory_ + "/sources", "/nonexistent/client", "127.0.0.1:1"}, {}).ok());
  EXPECT_THAT(BackUpDirectory({directory_ + "/sources/sub/none", "/bin/true", "127.0.0.1:1"}, {}),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SelfBackupTest, EndsAClientThatTakesTooLongOrWhenStopped) {
  SelfBackupOptions options = Options("exec sleep 1000");
  std::stop_source stopped;
  stopped.request_stop();
  EXPECT_THAT(BackUpDirectory(options, stopped.get_token()),
              StatusIs(absl::StatusCode::kCancelled));
  options.time_limit = absl::Milliseconds(1);
  EXPECT_THAT(BackUpDirectory(options, {}), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace backup::bridge
