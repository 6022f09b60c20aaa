#pragma once

#include <optional>
#include <string>

#include "base/periodic_task.h"
#include "bridge/service/backend_channels.h"
#include "grpc/impl/codegen/connectivity_state.h"

namespace backup::bridge {

// Keeps the channels to the service connected, and logs when it is lost and found again.
//
// Without it gRPC would connect a channel again only once it is needed. It looks at them now and
// then: a wait of gRPC's for a change could not be ended.
class BackendWatch {
 public:
  // `target` is what to call the service in the log.
  BackendWatch(const BackendChannels& channels, std::string target);

 private:
  void Look();
  void Note(grpc_connectivity_state state);

  const BackendChannels channels_;
  const std::string target_;
  std::optional<bool> was_connected_;  // Look()'s own.
  PeriodicTask looks_;                 // Last: ends before what it uses.
};

}  // namespace backup::bridge
