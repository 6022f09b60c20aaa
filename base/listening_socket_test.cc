#include "base/listening_socket.h"

#include "base/exit_code.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::StatusIs;

constexpr char kSource[] = "--flag";

TEST(SplitHostAndPort, KnowsNamesNumbersAndBrackets) {
  const auto name = SplitHostAndPort("localhost:0");
  ASSERT_OK(name);
  EXPECT_EQ(name->host, "localhost");
  EXPECT_EQ(name->port, 0);
  const auto number = SplitHostAndPort("[::1]:65535");
  ASSERT_OK(number);
  EXPECT_EQ(number->host, "::1");
  EXPECT_EQ(number->port, 65535);
  const auto any = SplitHostAndPort(":80");
  ASSERT_OK(any);
  EXPECT_EQ(any->host, "");
}

TEST(SplitHostAndPort, RefusesWhatIsNoAddress) {
  for (const char* bad :
       {"", "localhost", "localhost:", "localhost:65536", "localhost:-1", "localhost:http"}) {
    EXPECT_THAT(SplitHostAndPort(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
}

TEST(ListenOnTcp, TellsThePortItWasGivenAndThatItIsInUse) {
  const auto socket = ListenOnTcp({"127.0.0.1", 0}, kSource);
  ASSERT_OK(socket);
  EXPECT_GT(socket->port, 0);
  const auto second = ListenOnTcp({"127.0.0.1", socket->port}, kSource);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ExitCodeOf(second.status()), kExitInUse);
  EXPECT_THAT(std::string(second.status().message()), ::testing::HasSubstr("(--flag)"));
}

TEST(ListenOnTcp, RefusesAHostThatIsNone) {
  EXPECT_THAT(ListenOnTcp({"no host", 0}, kSource), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup
