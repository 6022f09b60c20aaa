#include "bridge/listener.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.

constexpr absl::Duration kShort = absl::Milliseconds(50);
constexpr absl::Duration kLong = absl::Seconds(20);

// Asks on new connections until one of them is served.
uint16_t AskUntilServed(int port, absl::string_view request) {
  constexpr int kTries = 10'000;
  for (int i = 0; i < kTries; ++i) {
    const uint16_t code = RawClient(port).Ask(request).code;
    if (code != 0 && code != kGeneralError) return code;
  }
  return 0;
}

// Larger than what the service hears of only when it is whole.
const std::string kLargeContent(160'000, 'x');

TEST(Listener, HeadThatComesByteByByteIsServed) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const std::string request = RegisterRequest("laptop");
  for (const char byte : request) client.Send(absl::string_view(&byte, 1));
  EXPECT_EQ(client.Receive()->code, kRegistered);
}

TEST(Listener, StalledHeadIsAnsweredWithAGeneralErrorAndClosed) {
  TestBridgeOptions options;
  options.listener.header_timeout = kShort;
  TestBridge bridge(options);
  RawClient client(bridge.port());
  client.Send(RegisterRequest("laptop").substr(0, 30));
  ASSERT_EQ(client.Receive()->code, kGeneralError);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Listener, TrickledHeadIsNotGivenMoreTime) {
  TestBridgeOptions options;
  options.listener.header_timeout = kShort;
  TestBridge bridge(options);
  RawClient client(bridge.port());
  std::jthread trickle([&](std::stop_token token) {
    while (!token.stop_requested()) client.Send("x");
  });
  // Bytes without end make a head soon, but one that no dialect claims: either way it ends with an
  // error.
  EXPECT_EQ(client.Receive()->code, kGeneralError);
}

TEST(Listener, IdleConnectionIsClosedSilently) {
  TestBridgeOptions options;
  options.listener.idle_timeout = kShort;
  TestBridge bridge(options);
  EXPECT_TRUE(RawClient(bridge.port()).AtEnd());
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(RegisterRequest("laptop")).code, kRegistered);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Listener, InfiniteTimeoutsCloseNothing) {
  TestBridgeOptions options;
  options.listener.idle_timeout = absl::InfiniteDuration();
  options.listener.header_timeout = absl::InfiniteDuration();
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const std::string request = RegisterRequest("laptop");
  client.Send(request.substr(0, 10));
  EXPECT_EQ(RawClient(bridge.port()).Ask(RegisterRequest("other")).code, kRegistered);
  client.Send(request.substr(10));
  EXPECT_EQ(client.Receive()->code, kRegistered);
}

TEST(Listener, ConnectionBeyondTheLimitGetsAGeneralErrorAndRoomIsReused) {
  TestBridgeOptions options;
  options.listener.max_connections = 1;
  TestBridge bridge(options);
  {
    RawClient first(bridge.port());
    EXPECT_EQ(first.Ask(RegisterRequest("a")).code, kRegistered);
    RawClient second(bridge.port());
    ASSERT_EQ(second.Receive()->code, kGeneralError);
    EXPECT_TRUE(second.AtEnd());
    EXPECT_EQ(first.Ask(RegisterRequest("b")).code, kRegistered);
  }
  EXPECT_EQ(AskUntilServed(bridge.port(), RegisterRequest("c")), kRegistered);
}

TEST(Listener, MoreRequestsThanWorkersWait) {
  TestBridgeOptions options;
  options.listener.max_active_requests = 1;
  TestBridge bridge(options);
  RawClient slow(bridge.port());
  const ClientId id = slow.Introduce("slow");
  const std::string upload = FileRequest(id, "a", kLargeContent);
  slow.Send(absl::string_view(upload).substr(0, upload.size() - 1));
  bridge.service().WaitForCalls(3);
  RawClient waiting(bridge.port());
  waiting.Send(RegisterRequest("waiting"));
  slow.Send(absl::string_view(upload).substr(upload.size() - 1));
  EXPECT_EQ(slow.Receive()->code, kFileReceived);
  EXPECT_EQ(waiting.Receive()->code, kRegistered);
}

TEST(Listener, WholeRequestsBeyondTheLimitWaitToo) {
  Metrics metrics;
  TestBridgeOptions options;
  options.listener.max_active_requests = 1;
  options.backend.metrics = BridgeMetrics(metrics);
  TestBridge bridge(options);
  bridge.service().HoldCalls();
  RawClient first(bridge.port());
  first.Send(RegisterRequest("first"));
  bridge.service().WaitForCalls(1);
  RawClient second(bridge.port());
  second.Send(RegisterRequest("second"));
  // Once the loop has come round, what came before was dealt with.
  ASSERT_TRUE(bridge.listener().Turns(absl::Seconds(10)));
  ASSERT_TRUE(bridge.listener().Turns(absl::Seconds(10)));
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("grpc_client_attempt_started_total{"
                                                   "grpc_method=\"RegisterClient\"} 1\n"));
  bridge.service().ReleaseCalls();
  EXPECT_EQ(first.Receive()->code, kRegistered);
  EXPECT_EQ(second.Receive()->code, kRegistered);
}

TEST(Listener, StalledBodiesDoNotHinderOthers) {
  TestBridge bridge;
  std::vector<std::unique_ptr<RawClient>> stalled;
  for (int i = 0; i < 20; ++i) {
    stalled.push_back(std::make_unique<RawClient>(bridge.port()));
    const ClientId id = stalled.back()->Introduce("client" + std::to_string(i));
    stalled.back()->Send(FileRequest(id, "a", "content, sixteen").substr(0, 295));
  }
  EXPECT_EQ(RawClient(bridge.port()).Ask(RegisterRequest("laptop")).code, kRegistered);
}

TEST(Listener, LeavesTheLastDescriptorsToTheProcess) {
  constexpr int kLimit = 512;
  constexpr int kFirstReserved = kLimit - 16;
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const absl::Cleanup restore = [&] { ::setrlimit(RLIMIT_NOFILE, &before); };
  const rlimit low = {kLimit, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  TestBridge bridge;
  RawClient served(bridge.port());
  EXPECT_EQ(served.Ask(RegisterRequest("before")).code, kRegistered);
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < 5; ++i) sockets.push_back(RawClient::MakeSocket());
  std::vector<UniqueFd> others;
  do {
    others.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  } while (others.back().get() < kFirstReserved - 1);
  std::vector<RawClient> refused;
  for (UniqueFd& socket : sockets) {
    refused.emplace_back(std::move(socket), bridge.port());
    EXPECT_EQ(refused.back().Receive(), std::nullopt);
  }
  EXPECT_EQ(served.Ask(RegisterRequest("meanwhile")).code, kRegistered);
  others.clear();
  EXPECT_EQ(AskUntilServed(bridge.port(), RegisterRequest("after")), kRegistered);
}

TEST(Listener, AnswersOthersWhileTheSystemHasNoRoomForOneMore) {
  constexpr int kRequests = 100;
  TestBridge bridge;
  RawClient served(bridge.port());
  const ClientId id = served.Introduce("laptop");
  // Once before: UBSan needs a descriptor when it meets an object's type for the first time.
  ASSERT_EQ(served.Ask(ReconnectRequest(id, "laptop")).code, kReconnected);
  UniqueFd socket = RawClient::MakeSocket();
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const absl::Cleanup restore = [&] { ::setrlimit(RLIMIT_NOFILE, &before); };
  const int lowest_free = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get();
  const rlimit none = {static_cast<rlim_t>(lowest_free), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  RawClient waiting(std::move(socket), bridge.port());
  const absl::Time begin = absl::Now();
  for (int i = 0; i < kRequests; ++i)
    ASSERT_EQ(served.Ask(ReconnectRequest(id, "laptop")).code, kReconnected);
  // A loop that waits for room takes 100 ms for each.
  EXPECT_LT(absl::Now() - begin, kRequests * absl::Milliseconds(50));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(waiting.Ask(ReconnectRequest(id, "laptop")).code, kReconnected);
}

TEST(Listener, RestartOfTheServiceIsNotVisibleToAClient) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  bridge.server().Stop();
  client.Send(FileRequest(id, "a", "content, sixteen"));
  bridge.server().Start();
  EXPECT_EQ(client.Receive()->code, kFileReceived);
  EXPECT_EQ(client.Ask(ValidRequest(id, "a")).code, kAcknowledged);
}

TEST(Listener, DrainClosesIdleConnectionsAndRefusesNewOnes) {
  TestBridge bridge;
  RawClient idle(bridge.port());
  EXPECT_EQ(idle.Ask(RegisterRequest("laptop")).code, kRegistered);
  EXPECT_TRUE(bridge.listener().Drain(kLong));
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_FALSE(CanConnect(bridge.port()));
}

TEST(Listener, DrainLetsARequestInFlightFinish) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  const std::string upload = FileRequest(id, "a", kLargeContent);
  client.Send(absl::string_view(upload).substr(0, upload.size() - 1));
  bridge.service().WaitForCalls(3);
  EXPECT_FALSE(bridge.listener().Drain(absl::ZeroDuration()));
  client.Send(absl::string_view(upload).substr(upload.size() - 1));
  EXPECT_TRUE(bridge.listener().Drain(kLong));
  EXPECT_EQ(client.Receive()->code, kFileReceived);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Listener, EndOfTheListenerHangsUpOnRequestsInFlight) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Send(FileRequest(id, "a", kLargeContent).substr(0, 100'000));
  bridge.service().WaitForCalls(3);
  bridge.DestroyListener();
  EXPECT_EQ(client.Receive(), std::nullopt);
}

}  // namespace
}  // namespace backup::bridge
