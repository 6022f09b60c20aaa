#include "rpc/stream_watchdog.h"

#include <algorithm>

#include "glog/logging.h"
#include "rpc/target.h"

namespace backup::rpc {

StreamWatchdog::StreamWatchdog(absl::Duration limit) : limit_(absl::ToChronoNanoseconds(limit)) {
  if (limit == absl::ZeroDuration()) return;
  const absl::Duration interval = std::clamp(limit / 10, absl::Milliseconds(10), absl::Seconds(1));
  canceller_.emplace(interval, [this](const std::stop_token&) { CancelSilent(); });
}

StreamWatchdog::Wait::Wait(StreamWatchdog& owner, grpc::ServerContextBase& call)
    : owner_(owner), call_(call) {
  MutexLock lock(owner_.mutex_);
  owner_.waits_.insert(this);
}

StreamWatchdog::Wait::~Wait() {
  MutexLock lock(owner_.mutex_);
  owner_.waits_.erase(this);
}

void StreamWatchdog::CancelSilent() {
  const auto now = std::chrono::steady_clock::now();
  MutexLock lock(mutex_);
  for (Wait* wait : waits_) {
    if (wait->cancelled_ || now - wait->start_ < limit_) continue;
    LOG(WARNING) << "cancelling a stream that moved nothing for too long, peer="
                 << PeerText(wait->call_.peer());
    wait->call_.TryCancel();
    wait->cancelled_ = true;
  }
}

}  // namespace backup::rpc
