#pragma once

#include <string>
#include <thread>

#include "bridge/backend_client.h"

namespace backup::bridge {

// Keeps the channels to the service connected, and logs when it is lost and found again.
//
// Without it gRPC looks at an idle channel every 5 s only (its backup poller): a service that
// drains waited so long for an idle bridge to hang up, and a restarted one was found so late.
class BackendWatch {
 public:
  // `target` is what to call the service in the log.
  BackendWatch(const BackendChannels& channels, const std::string& target);
  ~BackendWatch() = default;

 private:
  std::jthread calls_;
  std::jthread bodies_;
};

}  // namespace backup::bridge
