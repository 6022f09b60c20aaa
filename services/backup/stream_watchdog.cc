#include "services/backup/stream_watchdog.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "glog/logging.h"

namespace backup {

StreamWatchdog::StreamWatchdog(absl::Duration limit) : limit_(absl::ToChronoNanoseconds(limit)) {
  if (limit_ > limit_.zero()) {
    canceller_ = std::jthread([this](std::stop_token token) { CancelSilent(token); });
  }
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

void StreamWatchdog::CancelSilent(std::stop_token token) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock<std::mutex> waiting(mutex);
  const auto tick = std::clamp<std::chrono::nanoseconds>(limit_ / 10, std::chrono::milliseconds(10),
                                                         std::chrono::seconds(1));
  while (!stopped.wait_for(waiting, token, tick, [&] { return token.stop_requested(); })) {
    const auto now = std::chrono::steady_clock::now();
    MutexLock lock(mutex_);
    for (Wait* wait : waits_) {
      if (wait->cancelled_ || now - wait->start_ < limit_) continue;
      LOG(WARNING) << "cancelling a stream that moved nothing for too long, peer="
                   << wait->call_.peer();
      wait->call_.TryCancel();
      wait->cancelled_ = true;
    }
  }
}

}  // namespace backup
