#include "bridge/backend_watch.h"

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "glog/logging.h"

namespace backup::bridge {
namespace {

// How soon the end of this process is noticed.
constexpr std::chrono::milliseconds kStopCheckInterval(100);

using OnState = std::function<void(grpc_connectivity_state)>;

// Calls `on_state`, with each state that the channel comes into, until the token is stopped.
void KeepConnected(grpc::Channel& channel, const std::stop_token& token, const OnState& on_state) {
  while (!token.stop_requested()) {
    const grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
    on_state(state);
    while (
        !token.stop_requested() &&
        !channel.WaitForStateChange(state, std::chrono::system_clock::now() + kStopCheckInterval)) {
    }
  }
}

// Logs when the service is lost and found again.
class StateLog {
 public:
  explicit StateLog(std::string target) : target_(std::move(target)) {}
  void operator()(grpc_connectivity_state state) {
    const bool there = state == GRPC_CHANNEL_READY;
    if (there && was_there_ != true) LOG(INFO) << "the service at " << target_ << " is there";
    if (was_there_ == true && !there) {
      LOG(WARNING) << "the service at " << target_ << " is away: requests wait for it";
    }
    if (there || state == GRPC_CHANNEL_TRANSIENT_FAILURE || was_there_ == true) was_there_ = there;
  }

 private:
  const std::string target_;
  std::optional<bool> was_there_;
};

}  // namespace

BackendWatch::BackendWatch(const BackendChannels& channels, const std::string& target)
    : calls_([channel = channels.calls, target](const std::stop_token& token) {
        KeepConnected(*channel, token, StateLog(target));
      }),
      bodies_([channel = channels.bodies](const std::stop_token& token) {
        KeepConnected(*channel, token, [](grpc_connectivity_state) {});
      }) {}

}  // namespace backup::bridge
