#include "bridge/bridge_metrics.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(20);

// A bridge that counts. What is here and in no end-to-end test is what takes a peer or a moment of
// its own.
class BridgeMetricsTest : public ::testing::Test {
 protected:
  TestBridge& Start(TestBridgeOptions options = {}) {
    options.listener.session.metrics = BridgeMetrics(metrics_);
    options.backend.metrics = options.listener.session.metrics;
    bridge_.emplace(std::move(options));
    return *bridge_;
  }

  // A connection's end is counted a moment after the client learns of it.
  void ExpectSoon(absl::string_view series) {
    const std::string line = absl::StrCat("\n", series, "\n");
    const absl::Time end = absl::Now() + kLong;
    while (metrics_.Text().find(line) == std::string::npos && absl::Now() < end)
      absl::SleepFor(absl::Milliseconds(5));
    EXPECT_THAT(metrics_.Text(), HasSubstr(line));
  }

  Metrics metrics_;
  std::optional<TestBridge> bridge_;
};

TEST_F(BridgeMetricsTest, TellOfConnectionsThatAreTurnedAway) {
  TestBridgeOptions options;
  options.listener.max_connections = 1;
  TestBridge& bridge = Start(options);
  RawClient served(bridge.port());
  served.Introduce("laptop");
  {
    RawClient refused(bridge.port());
    EXPECT_EQ(refused.Receive()->code, kGeneralError);
    ExpectSoon("backup_bridge_connections{state=\"lingering\"} 1");
  }
  ExpectSoon("backup_bridge_connections_closed_total{reason=\"limit\"} 1");
  ExpectSoon("backup_admission_rejected_total{reason=\"connections\"} 1");
  ExpectSoon("backup_bridge_connections{state=\"waiting\"} 1");
}

TEST_F(BridgeMetricsTest, TellOfConnectionsThatDrainingCloses) {
  TestBridge& bridge = Start();
  RawClient idle(bridge.port());
  idle.Introduce("laptop");
  EXPECT_TRUE(bridge.listener().Drain(kLong));
  ExpectSoon("backup_bridge_connections_closed_total{reason=\"drain\"} 1");
  ExpectSoon("backup_bridge_connections{state=\"waiting\"} 0");
}

TEST_F(BridgeMetricsTest, TellOfAServiceThatStaysAway) {
  TestBridgeOptions options;
  options.backend.ride_through = absl::Milliseconds(100);
  TestBridge& bridge = Start(options);
  const ClientId id = RawClient(bridge.port()).Introduce("laptop");
  bridge.server().Stop();
  // How it speaks is known here; of a stranger it would have to be asked.
  EXPECT_EQ(RawClient(bridge.port()).Ask(FileRequest(id, "a", "content, sixteen")).code,
            kGeneralError);
  ExpectSoon("backup_bridge_ride_through_total{outcome=\"gave_up\"} 1");
  const ClientId stranger = *ClientId::FromBytes("0123456789abcdef");
  EXPECT_EQ(RawClient(bridge.port()).Ask(ReconnectRequest(stranger, "other")).code, kGeneralError);
  ExpectSoon("backup_bridge_connections_closed_total{reason=\"upstream\"} 1");
}

TEST_F(BridgeMetricsTest, TellOfFilesThatAreTooLongToBeRepeated) {
  TestBridgeOptions options;
  options.backend.spool_bytes = 8;
  TestBridge& bridge = Start(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  const std::string upload = FileRequest(id, "a", std::string(100'000, 'x'));
  client.Send(upload.substr(0, upload.size() - 16));
  bridge.service().WaitForCalls(3);
  // Once the body has outgrown the spool.
  const absl::Time end = absl::Now() + kLong;
  while (metrics_.Text().find("attempt_started_total{grpc_method=\"UploadFile\"} 1") ==
             std::string::npos &&
         absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  bridge.server().Stop();
  client.Send(upload.substr(upload.size() - 16));
  EXPECT_EQ(client.Receive()->code, kGeneralError);
  ExpectSoon("backup_bridge_ride_through_total{outcome=\"not_repeatable\"} 1");
  ExpectSoon("backup_bridge_spool_bytes 0");
}

TEST_F(BridgeMetricsTest, CountWhatIsKeptOfAFileWithWhatItTakesBesideItsBytes) {
  TestBridge& bridge = Start();
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  const std::string upload = FileRequest(id, "a", std::string(100'000, 'x'));
  client.Send(upload.substr(0, upload.size() - 40'000));
  // One piece, or more if they come slowly.
  const std::string sample = "\nbackup_bridge_spool_bytes ";
  double kept = 0;
  const absl::Time end = absl::Now() + kLong;
  while (kept <= 60'000 && absl::Now() < end) {
    const std::string text = metrics_.Text();
    kept = std::stod(text.substr(text.find(sample) + sample.size()));
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_GE(kept, 60'000 + 128);
}

TEST_F(BridgeMetricsTest, TellOfWrongChecksumsOnPurposeAndOfOtherProtocols) {
  TestBridge& bridge = Start();
  RawClient(bridge.port()).Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  ExpectSoon("backup_bridge_wrong_protocol_total{detected=\"http2\"} 1");
  RawClient short_request(bridge.port());
  short_request.Send("GET /");  // Too short for a head: seen when it ends.
  short_request.ShutdownWrite();
  ExpectSoon("backup_bridge_wrong_protocol_total{detected=\"http1\"} 1");
  ExpectSoon("backup_bridge_connections_closed_total{reason=\"protocol\"} 2");
}

TEST(Listener, SaysWhetherItsLoopTurns) {
  TestBridge bridge;
  EXPECT_TRUE(bridge.listener().Turns(kLong));
  EXPECT_TRUE(bridge.listener().Drain(kLong));
  EXPECT_TRUE(bridge.listener().Turns(kLong));  // It has ended as it should.
}

}  // namespace
}  // namespace backup::bridge
