#include "bridge/testing/test_bridge.h"

#include <vector>

#include "bridge/net/ports_to_try.h"
#include "glog/logging.h"

namespace backup::bridge::testing {

TestBridge::TestBridge(TestBridgeOptions options)
    : server_(service_),
      idle_(absl::ZeroDuration(), stop_),
      backend_(MakeBackendChannels(server_.target()), options.backend),
      forwarder_(backend_, options.corrupt_checksums) {
  absl::StatusOr<ListeningSocket> socket = ListenOnFirstFree("127.0.0.1", std::vector<int>{0});
  CHECK(socket.ok()) << socket.status();
  port_ = socket->port;
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Start(std::move(socket->fd), forwarder_, idle_, options.listener);
  CHECK(listener.ok()) << listener.status();
  listener_ = *std::move(listener);
}

}  // namespace backup::bridge::testing
