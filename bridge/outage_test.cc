// While the service is unavailable.

#include <filesystem>
#include <iterator>
#include <memory>
#include <vector>

#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.

// Longer than a test may take: whatever waits for the service fails it.
constexpr absl::Duration kNever = absl::Hours(1);

ptrdiff_t Threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

TEST(Outage, MalformedHeadsAreAnsweredAtOnceAndHoldUpNobody) {
  TestBridgeOptions options;
  options.listener.max_active_requests = 2;
  options.backend.ride_through = kNever;
  TestBridge bridge(options);
  RawClient well_formed(bridge.port());
  const ClientId id = well_formed.Introduce("laptop");
  const ClientId stranger = *ClientId::FromBytes("0123456789abcdef");
  bridge.server().Stop();
  for (int i = 0; i < 4; ++i) {
    for (const ClientId& sender : {id, stranger}) {
      RawClient client(bridge.port());
      EXPECT_EQ(client.Ask(AnyRequest(sender, 1029, "far too short")).code, kGeneralError);
      EXPECT_TRUE(client.AtEnd());
    }
  }
  well_formed.Send(ReconnectRequest(id, "laptop"));
  bridge.server().Start();
  EXPECT_EQ(well_formed.Receive()->code, kReconnected);
}

TEST(Outage, RequestsThatWaitForTheServiceTakeNoThreads) {
  constexpr int kRequests = 50;
  TestBridgeOptions options;
  options.backend.ride_through = kNever;
  TestBridge bridge(options);
  RawClient(bridge.port()).Introduce("laptop");
  const ptrdiff_t before = Threads();
  bridge.server().Stop();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kRequests; ++i) {
    clients.push_back(std::make_unique<RawClient>(bridge.port()));
    clients.back()->Send(RegisterRequest("client" + std::to_string(i)));
  }
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(bridge.listener().Turns(absl::Seconds(20)));
  EXPECT_LT(Threads(), before + kRequests / 2);
  bridge.server().Start();
  for (const auto& client : clients) EXPECT_EQ(client->Receive()->code, kRegistered);
}

}  // namespace
}  // namespace backup::bridge
