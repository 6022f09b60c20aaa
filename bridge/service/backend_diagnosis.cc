#include "bridge/service/backend_diagnosis.h"

#include <utility>

#include "glog/logging.h"

namespace backup::bridge {
namespace {

// Longer than a service needs to restart, mostly: that is told otherwise.
constexpr absl::Duration kInterval = absl::Seconds(2);
// Of each step; the end of the process waits for it.
constexpr absl::Duration kTimeout = absl::Seconds(1);

}  // namespace

BackendDiagnosis::BackendDiagnosis(std::shared_ptr<grpc::Channel> channel, rpc::ConnectionPlan plan)
    : channel_(std::move(channel)),
      plan_(std::move(plan)),
      looks_(kInterval, [this](const std::stop_token&) { Look(); }) {}

std::string BackendDiagnosis::why() const {
  MutexLock lock(mutex_);
  return why_;
}

void BackendDiagnosis::Look() {
  const bool connected = channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  std::string why = connected ? "" : rpc::DiagnoseConnection(plan_, kTimeout);
  MutexLock lock(mutex_);
  if (!why.empty() && why != why_) LOG(WARNING) << "no connection: " << why;
  why_ = std::move(why);
}

}  // namespace backup::bridge
