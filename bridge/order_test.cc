// Requests of one client take effect in the order in which they arrived, on whichever connections.

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/metrics.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(20);

class OrderTest : public ::testing::Test {
 protected:
  OrderTest() : bridge_(Options()) {
    RawClient client(bridge_.port());
    id_ = client.Introduce("laptop");
    EXPECT_EQ(client.Ask(FileRequest(id_, "a", "first")).code, kFileReceived);
  }

  TestBridgeOptions Options() {
    TestBridgeOptions options;
    options.backend.metrics = BridgeMetrics(metrics_);
    return options;
  }

  // As some clients do: on a connection of its own, hanging up without reading.
  void SendRetryNotice() { RawClient(bridge_.port()).Send(RetryRequest(id_, "a")); }
  // The calls since those of the constructor.
  std::vector<std::string> Calls() {
    const std::vector<std::string> calls = bridge_.service().calls();
    return {calls.begin() + 3, calls.end()};
  }
  // Until the loop has dealt with all that came before.
  void WaitForLoop() {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(bridge_.listener().Turns(kLong));
  }
  std::string Uploads(int count) {
    return absl::StrCat("grpc_client_attempt_started_total{grpc_method=\"UploadFile\"} ", count,
                        "\n");
  }

  Metrics metrics_;
  TestBridge bridge_;
  ClientId id_;
};

TEST_F(OrderTest, AnUploadWaitsForTheAnswerToTheRetryNoticeBeforeIt) {
  bridge_.service().HoldCalls();
  SendRetryNotice();
  bridge_.service().WaitForCalls(4);
  RawClient client(bridge_.port());
  client.Send(FileRequest(id_, "a", "second"));
  WaitForLoop();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Uploads(1)));
  bridge_.service().ReleaseCalls();
  EXPECT_EQ(client.Receive()->code, kFileReceived);
  EXPECT_THAT(Calls(), ElementsAre("ReportTransfer RETRYING", "UploadFile"));
}

TEST_F(OrderTest, ARetryNoticeThatMetAnUnavailableServiceStillComesFirst) {
  bridge_.service().FailNextCall(absl::UnavailableError("restarting"));
  SendRetryNotice();
  bridge_.service().WaitForCalls(4);
  EXPECT_EQ(RawClient(bridge_.port()).Ask(FileRequest(id_, "a", "second")).code, kFileReceived);
  EXPECT_THAT(Calls(),
              ElementsAre("ReportTransfer RETRYING", "ReportTransfer RETRYING", "UploadFile"));
}

TEST_F(OrderTest, TheOrderSurvivesARestartOfTheService) {
  for (int round = 1; round <= 3; ++round) {
    SCOPED_TRACE(round);
    bridge_.server().Stop();
    SendRetryNotice();
    RawClient client(bridge_.port());
    client.Send(FileRequest(id_, "a", "next"));
    WaitForLoop();
    bridge_.server().Start();
    EXPECT_EQ(client.Receive()->code, kFileReceived);
    const std::vector<std::string> calls = Calls();
    ASSERT_EQ(calls.size(), 2u * round);
    EXPECT_EQ(calls[calls.size() - 2], "ReportTransfer RETRYING");
  }
}

TEST_F(OrderTest, ARequestOnAnOldConnectionComesBeforeALaterOneOnANewConnection) {
  constexpr int kRounds = 100;
  RawClient old(bridge_.port());
  for (int round = 0; round < kRounds; ++round) {
    old.Send(AbortRequest(id_, "a"));
    ASSERT_EQ(RawClient(bridge_.port()).Ask(FileRequest(id_, "a", "next")).code, kFileReceived);
    ASSERT_EQ(old.Receive()->code, kAcknowledged);
    ASSERT_EQ(Calls().back(), "UploadFile") << round;
  }
}

TEST_F(OrderTest, AFileThatIsStillComingHoldsUpNobody) {
  RawClient slow(bridge_.port());
  const std::string upload = FileRequest(id_, "large", std::string(160'000, 'x'));
  slow.Send(absl::string_view(upload).substr(0, upload.size() - 1));
  bridge_.service().WaitForCalls(4);
  RawClient client(bridge_.port());
  EXPECT_EQ(client.Ask(AbortRequest(id_, "a")).code, kAcknowledged);
  slow.Send(absl::string_view(upload).substr(upload.size() - 1));
  EXPECT_EQ(slow.Receive()->code, kFileReceived);
}

TEST_F(OrderTest, AStreamedFileEndsAfterTheRequestsBeforeItsLastByte) {
  RawClient slow(bridge_.port());
  const std::string upload = FileRequest(id_, "large", std::string(160'000, 'x'));
  slow.Send(absl::string_view(upload).substr(0, upload.size() - 1));
  bridge_.service().WaitForCalls(4);
  bridge_.service().HoldCalls();
  SendRetryNotice();
  bridge_.service().WaitForCalls(5);
  slow.Send(absl::string_view(upload).substr(upload.size() - 1));
  // It has time to come, but must not.
  const absl::Time end = absl::Now() + absl::Milliseconds(50);
  while (!bridge_.service().content("large") && absl::Now() < end)
    absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(bridge_.service().content("large"), std::nullopt);
  bridge_.service().ReleaseCalls();
  EXPECT_EQ(slow.Receive()->code, kFileReceived);
}

}  // namespace
}  // namespace backup::bridge
