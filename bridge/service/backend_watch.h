#pragma once

#include <memory>
#include <string>

#include "bridge/service/backend_client.h"

namespace backup::bridge {

// Keeps the channels to the service connected, and logs when it is lost and found again.
//
// Without it gRPC would connect a channel again only once it is needed.
class BackendWatch {
 public:
  // `target` is what to call the service in the log.
  BackendWatch(const BackendChannels& channels, const std::string& target);
  ~BackendWatch();

 private:
  class Watched;

  const std::unique_ptr<Watched> calls_;
  const std::unique_ptr<Watched> bodies_;
};

}  // namespace backup::bridge
