#include "rpc/target.h"

#include <utility>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

using testing::StatusIs;

TEST(ServiceTarget, UnderstandsAddressesAndGrpcsOwnTargets) {
  for (const auto& [service, target] : std::initializer_list<std::pair<const char*, const char*>>{
           {"127.0.0.1:1", "127.0.0.1:1"},
           {"::1", "[::1]:50051"},
           {"[::1]:1", "[::1]:1"},
           {"tcp://backup.example:1", "backup.example:1"},
           {"backup.example", "backup.example:50051"},
           {"tcp://backup.example", "backup.example:50051"},
           {"*:1", "localhost:1"},
           {"[::]:1", "localhost:1"},
           {"0.0.0.0:1", "localhost:1"},
           {"unix:/run/backup/service.sock", "unix:/run/backup/service.sock"},
           {"dns:///backup.example:1", "dns:///backup.example:1"}}) {
    const auto made = ServiceTarget(service);
    ASSERT_OK(made);
    EXPECT_EQ(*made, target);
  }
  for (const char* bad : {"", "host:port", "::1:50051", "host:70000"})
    EXPECT_THAT(ServiceTarget(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
}

TEST(IsLocalTarget, BelievesOnlyWhatCannotLeadElsewhere) {
  for (const char* local : {"unix:/x", "localhost:1", "dns:///localhost:1", "ipv4:127.0.0.1:1",
                            "ipv6:[::1]:1", "[0::1]:1"}) {
    EXPECT_TRUE(IsLocalTarget(local)) << local;
  }
  for (const char* remote : {"", "backup.example:1", "127.example.com:1", "dns://127.0.0.1/host:1",
                             "ipv4:127.0.0.1:1,10.0.0.1:1", "[::2]:1"}) {
    EXPECT_FALSE(IsLocalTarget(remote)) << remote;
  }
}

TEST(PeerText, IsAnAddress) {
  EXPECT_EQ(PeerText("ipv4:1.2.3.4:5"), "1.2.3.4:5");
  EXPECT_EQ(PeerText("ipv6:%5B::1%5D:5"), "[::1]:5");
  EXPECT_EQ(PeerText("ipv6:[::ffff:1.2.3.4]:5"), "1.2.3.4:5");
  EXPECT_EQ(PeerText("unix:"), "unix:");
}

}  // namespace
}  // namespace backup::rpc
