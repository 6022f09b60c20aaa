#pragma once

#include <memory>
#include <string>
#include <thread>

#include "grpcpp/channel.h"

namespace backup::bridge {

// Keeps the channel to the service connected, and logs when it is lost and found again.
//
// Without it gRPC looks at an idle channel every 5 s only (its backup poller): a service that
// drains waited so long for an idle bridge to hang up, and a restarted one was found so late.
class BackendWatch {
 public:
  // `target` is what to call the service in the log.
  BackendWatch(std::shared_ptr<grpc::Channel> channel, std::string target);
  ~BackendWatch() = default;

 private:
  std::jthread thread_;
};

}  // namespace backup::bridge
