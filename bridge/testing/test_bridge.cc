#include "bridge/testing/test_bridge.h"

#include <memory>
#include <utility>
#include <vector>

#include "bridge/net/ports_to_try.h"
#include "bridge/testing/test_dialects.h"
#include "glog/logging.h"

namespace backup::bridge::testing {
namespace {

// Those that are built in, unless the test has others.
ListenerOptions WithSomeDialects(ListenerOptions options) {
  if (options.session.dialects == nullptr) {
    options.session.dialects = std::make_shared<const wire::DialectSet>(DialectsWith({}));
  }
  return options;
}

}  // namespace

TestBridgeOptions WithDialects(std::vector<wire::Dialect> further,
                               const wire::DialectSet::Options& options) {
  TestBridgeOptions with;
  with.listener.session.dialects =
      std::make_shared<const wire::DialectSet>(DialectsWith(std::move(further), options));
  return with;
}

TestBridge::TestBridge(TestBridgeOptions options)
    : server_(service_),
      idle_(absl::ZeroDuration(), stop_),
      backend_(MakeBackendChannels(server_.target()), options.backend),
      forwarder_(backend_, options.corrupt_checksums) {
  absl::StatusOr<ListeningSocket> socket = ListenOnFirstFree("127.0.0.1", std::vector<int>{0});
  CHECK(socket.ok()) << socket.status();
  port_ = socket->port;
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Start(std::move(socket->fd), forwarder_, idle_, WithSomeDialects(options.listener));
  CHECK(listener.ok()) << listener.status();
  listener_ = *std::move(listener);
}

}  // namespace backup::bridge::testing
