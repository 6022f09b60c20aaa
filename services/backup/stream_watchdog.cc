#include "services/backup/stream_watchdog.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "glog/logging.h"

namespace backup {

StreamWatchdog::StreamWatchdog(absl::Duration limit)
    : limit_(absl::ToChronoNanoseconds(limit)),
      canceller_([this](std::stop_token token) { CancelSilent(token); }) {}

StreamWatchdog::Watch::Watch(StreamWatchdog& owner, grpc::ServerContext& call)
    : owner_(owner), call_(call), last_progress_(std::chrono::steady_clock::now()) {
  MutexLock lock(owner_.mutex_);
  owner_.watches_.insert(this);
}

StreamWatchdog::Watch::~Watch() {
  MutexLock lock(owner_.mutex_);
  owner_.watches_.erase(this);
}

void StreamWatchdog::Watch::Progress() {
  MutexLock lock(owner_.mutex_);
  last_progress_ = std::chrono::steady_clock::now();
}

void StreamWatchdog::CancelSilent(std::stop_token token) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock<std::mutex> waiting(mutex);
  const auto tick = std::clamp<std::chrono::nanoseconds>(limit_ / 10, std::chrono::milliseconds(10),
                                                         std::chrono::seconds(1));
  while (!stopped.wait_for(waiting, token, tick, [&] { return token.stop_requested(); })) {
    const auto now = std::chrono::steady_clock::now();
    MutexLock lock(mutex_);
    for (Watch* watch : watches_) {
      if (now - watch->last_progress_ < limit_) continue;
      LOG(WARNING) << "cancelling a stream that moved nothing for too long, peer="
                   << watch->call_.peer();
      watch->call_.TryCancel();
      watch->last_progress_ = now;
    }
  }
}

}  // namespace backup
