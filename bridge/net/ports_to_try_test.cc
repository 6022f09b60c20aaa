#include "bridge/net/ports_to_try.h"

#include <fstream>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::StatusIs;
using ::testing::ElementsAre;

std::string PortFile(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/port.info." +
                           ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(PortsToTry, TakesTheGivenPortBeforeThePortFile) {
  EXPECT_THAT(PortsToTry({2000, PortFile("1234"), {3000, 0}}), ElementsAre(2000, 3000, 0));
}

TEST(PortsToTry, TakesThePortFileIfNoPortIsGiven) {
  EXPECT_THAT(PortsToTry({-1, PortFile(" 1234\r\n"), {}}), ElementsAre(1234));
}

TEST(PortsToTry, TakesTheDefaultIfThePortFileIsMissingOrBad) {
  EXPECT_THAT(PortsToTry({-1, "/nonexistent/port.info", {}}), ElementsAre(kDefaultPort));
  for (const char* text : {"", "port", "70000", "-1", "12 34"}) {
    EXPECT_THAT(PortsToTry({-1, PortFile(text), {}}), ElementsAre(kDefaultPort)) << text;
  }
}

TEST(ListenOnFirstFree, FallsBackWhenAPortIsInUse) {
  const auto first = ListenOnFirstFree("127.0.0.1", std::vector<int>{0});
  ASSERT_OK(first);
  EXPECT_GT(first->port, 0);
  const auto second = ListenOnFirstFree("127.0.0.1", std::vector<int>{first->port, 0});
  ASSERT_OK(second);
  EXPECT_NE(second->port, first->port);
  EXPECT_THAT(ListenOnFirstFree("127.0.0.1", std::vector<int>{first->port}),
              StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST(ListenOnFirstFree, RefusesWhatIsNoAddress) {
  EXPECT_THAT(ListenOnFirstFree("no address", std::vector<int>{0}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup::bridge
