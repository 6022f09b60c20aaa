#pragma once

#include <memory>
#include <vector>

#include "base/idle_shutdown.h"
#include "base/process.h"
#include "bridge/listener.h"
#include "bridge/request/forwarder.h"
#include "bridge/service/backend_client.h"
#include "bridge/testing/fake_service.h"

namespace backup::bridge::testing {

struct TestBridgeOptions {
  ListenerOptions listener;
  BackendOptions backend;
  bool corrupt_checksums = false;
};

// With `further` dialects.
TestBridgeOptions WithDialects(std::vector<wire::Dialect> further,
                               const wire::DialectSet::Options& options = {});

// A whole bridge but for main(), on a free port, before a fake service. Used by one thread at a
// time.
class TestBridge {
 public:
  explicit TestBridge(TestBridgeOptions options = {});

  int port() const { return port_; }
  FakeService& service() { return service_; }
  FakeServer& server() { return server_; }
  BackendClient& backend() { return backend_; }
  Listener& listener() { return *listener_; }
  // As at the end of the process.
  void DestroyListener() { listener_.reset(); }

 private:
  FakeService service_;
  FakeServer server_;
  StopRequest stop_;
  IdleShutdown idle_;
  BackendClient backend_;
  Forwarder forwarder_;
  int port_ = 0;
  std::unique_ptr<Listener> listener_;
};

}  // namespace backup::bridge::testing
