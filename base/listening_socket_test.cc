#include "base/listening_socket.h"

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::StatusIs;

constexpr char kSource[] = "--flag";

TEST(ListenOnTcp, TellsThePortItWasGivenAndThatItIsInUse) {
  const auto socket = ListenOnTcp({"127.0.0.1", 0}, kSource);
  ASSERT_OK(socket);
  EXPECT_GT(socket->port, 0);
  const auto second = ListenOnTcp({"127.0.0.1", socket->port}, kSource);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ExitCodeOf(second.status()), kExitInUse);
  EXPECT_THAT(std::string(second.status().message()), ::testing::HasSubstr("(--flag)"));
}

TEST(ListenOnTcp, TellsTheAddressItIsBoundTo) {
  const auto one = ListenOnTcp({"127.0.0.1", 0}, kSource);
  ASSERT_OK(one);
  EXPECT_EQ(one->address, absl::StrCat("127.0.0.1:", one->port));
  const auto any = ListenOnTcp({"", 0}, kSource);
  ASSERT_OK(any);
  EXPECT_THAT(any->address, ::testing::AnyOf(absl::StrCat("[::]:", any->port),
                                             absl::StrCat("0.0.0.0:", any->port)));
}

TEST(ListenOnTcp, RefusesAHostThatIsNone) {
  EXPECT_THAT(ListenOnTcp({"no host", 0}, kSource), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup
