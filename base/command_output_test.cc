#include "base/command_output.h"

#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::StatusIs;

constexpr absl::Duration kPlenty = absl::Seconds(60);
constexpr absl::Duration kLittle = absl::Milliseconds(200);
constexpr size_t kMaxBytes = 100;

absl::StatusOr<std::string> Shell(const std::string& script, absl::Duration deadline = kPlenty) {
  return CommandOutput({"sh", "-c", script}, deadline, kMaxBytes);
}

std::string MessageOf(const absl::StatusOr<std::string>& result) {
  return std::string(result.status().message());
}

TEST(CommandOutput, IsWhatAProgramWrites) {
  EXPECT_THAT(CommandOutput({"/bin/echo", "a  b", "$HOME", ";"}, kPlenty, kMaxBytes),
              IsOkAndHolds("a  b $HOME ;\n"));
  EXPECT_THAT(CommandOutput({"true"}, kPlenty, kMaxBytes), IsOkAndHolds(""));
  EXPECT_THAT(Shell("head -c 100 /dev/zero"), IsOkAndHolds(std::string(100, '\0')));
}

TEST(CommandOutput, GivesNothingToReadAndTheEnvironment) {
  ::setenv("COMMAND_OUTPUT_TEST", "known", 1);
  EXPECT_THAT(Shell("cat; echo $COMMAND_OUTPUT_TEST"), IsOkAndHolds("known\n"));
}

TEST(CommandOutput, IsNoneOfAProgramThatCannotRun) {
  const auto missing = CommandOutput({"/no/such/program", "x"}, kPlenty, kMaxBytes);
  EXPECT_THAT(missing, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(MessageOf(missing), HasSubstr("cannot run /no/such/program"));
  EXPECT_FALSE(CommandOutput({}, kPlenty, kMaxBytes).ok());
}

TEST(CommandOutput, IsNoneOfAProgramThatFailsButItsComplaintIsTold) {
  const auto failed = Shell("echo secret; echo 'no permission' >&2; exit 7");
  EXPECT_THAT(failed, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(MessageOf(failed), "sh: it ended with exit code 7: no permission");
  EXPECT_THAT(MessageOf(Shell("kill -9 $$")), HasSubstr("signal 9"));
  const std::string long_one = MessageOf(Shell("yes complaint | head -c 1000000 >&2; exit 1"));
  EXPECT_THAT(long_one, HasSubstr("complaint"));
  EXPECT_LT(long_one.size(), 1000u);
}

TEST(CommandOutput, TellsNoKeyThatIsInAComplaint) {
  const std::string key(64, 'a');
  EXPECT_EQ(MessageOf(Shell(absl::StrCat("echo key=", key, ", not one >&2; exit 7"))),
            "sh: it ended with exit code 7: key=[hidden], not one");
  // Its beginning may be left out.
  const std::string cut = MessageOf(
      Shell(absl::StrCat("for i in 1 2 3 4 5 6 7 8 9; do echo ", key, " >&2; done; exit 7")));
  EXPECT_THAT(cut, HasSubstr("[hidden]"));
  EXPECT_THAT(cut, ::testing::Not(HasSubstr("aaaaaaaa")));
}

TEST(CommandOutput, MayNotBeTooMuch) {
  EXPECT_THAT(Shell("head -c 101 /dev/zero"), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Shell("yes"), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(CommandOutput, HasADeadlineAfterWhichNothingRunsOn) {
  const std::string pid_file = absl::StrCat(::testing::TempDir(), "command_output_test.pid");
  for (const char* const hang :
       {"sleep 1000", "exec >&- 2>&-; sleep 1000", "sleep 1000 & exit 0", "yes >&2"}) {
    const auto late = Shell(absl::StrCat("echo $$ > ", pid_file, "; ", hang), kLittle);
    EXPECT_THAT(late, StatusIs(absl::StatusCode::kDeadlineExceeded)) << hang;
    pid_t group = 0;
    std::ifstream(pid_file) >> group;
    ASSERT_GT(group, 1);
    EXPECT_TRUE(::kill(group, 0) != 0) << hang;
  }
}

}  // namespace
}  // namespace backup
