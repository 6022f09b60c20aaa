#include "bridge/backend_watch.h"

#include <chrono>
#include <optional>

#include "glog/logging.h"

namespace backup::bridge {
namespace {

// How soon the end of this process is noticed.
constexpr std::chrono::milliseconds kStopCheckInterval(100);

void Watch(grpc::Channel& channel, const std::string& target, const std::stop_token& token) {
  std::optional<bool> was_there;
  while (!token.stop_requested()) {
    const grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
    const bool there = state == GRPC_CHANNEL_READY;
    if (there && was_there != true) LOG(INFO) << "the service at " << target << " is there";
    if (was_there == true && !there) {
      LOG(WARNING) << "the service at " << target << " is away: requests wait for it";
    }
    if (there || state == GRPC_CHANNEL_TRANSIENT_FAILURE || was_there == true) was_there = there;
    while (
        !token.stop_requested() &&
        !channel.WaitForStateChange(state, std::chrono::system_clock::now() + kStopCheckInterval)) {
    }
  }
}

}  // namespace

BackendWatch::BackendWatch(std::shared_ptr<grpc::Channel> channel, std::string target)
    : thread_([channel = std::move(channel), target = std::move(target)](std::stop_token token) {
        Watch(*channel, target, token);
      }) {}

}  // namespace backup::bridge
