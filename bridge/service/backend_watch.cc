#include "bridge/service/backend_watch.h"

#include <utility>

#include "glog/logging.h"

namespace backup::bridge {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(50);

}  // namespace

BackendWatch::BackendWatch(const BackendChannels& channels, std::string target)
    : channels_(channels),
      target_(std::move(target)),
      looks_(
          kInterval, [this](const std::stop_token&) { Look(); }, PeriodicTask::FirstRun::kAtOnce) {}

void BackendWatch::Look() {
  channels_.bodies->GetState(/*try_to_connect=*/true);
  Note(channels_.calls->GetState(/*try_to_connect=*/true));
}

void BackendWatch::Note(grpc_connectivity_state state) {
  const bool connected = state == GRPC_CHANNEL_READY;
  if (connected && was_connected_ != true)
    LOG(INFO) << "the service at " << target_ << " is connected";
  if (was_connected_ == true && !connected)
    LOG(WARNING) << "the service at " << target_ << " is unavailable: requests wait for it";
  if (connected || state == GRPC_CHANNEL_TRANSIENT_FAILURE || was_connected_ == true)
    was_connected_ = connected;
}

}  // namespace backup::bridge
