#include "bridge/service/backend_watch.h"

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "glog/logging.h"
#include "rpc/completion_queue.h"

namespace backup::bridge {
namespace {

// How soon the end of the watch is noticed.
constexpr std::chrono::milliseconds kStopCheckInterval(100);

using OnState = std::function<void(grpc_connectivity_state)>;

// Logs when the service is lost and found again.
class StateLog {
 public:
  explicit StateLog(std::string target) : target_(std::move(target)) {}
  void operator()(grpc_connectivity_state state) {
    const bool connected = state == GRPC_CHANNEL_READY;
    if (connected && was_connected_ != true)
      LOG(INFO) << "the service at " << target_ << " is connected";
    if (was_connected_ == true && !connected)
      LOG(WARNING) << "the service at " << target_ << " is unavailable: requests wait for it";
    if (connected || state == GRPC_CHANNEL_TRANSIENT_FAILURE || was_connected_ == true)
      was_connected_ = connected;
  }

 private:
  const std::string target_;
  std::optional<bool> was_connected_;
};

}  // namespace

// A channel whose states are all looked at, which makes it connect.
class BackendWatch::Watched final : public rpc::CompletionQueue::Event {
 public:
  Watched(std::shared_ptr<grpc::Channel> channel, std::shared_ptr<rpc::CompletionQueue> queue,
          OnState on_state)
      : channel_(std::move(channel)), queue_(std::move(queue)), on_state_(std::move(on_state)) {
    Await();
  }
  // Waits until nothing is awaited.
  ~Watched() override {
    MutexLock lock(mutex_);
    stopping_ = true;
    while (!stopped_) changed_.Wait(mutex_);
  }

  void Happen() override {
    MutexLock lock(mutex_);
    if (!stopping_) return Await();
    stopped_ = true;
    changed_.NotifyOne();
  }

 private:
  void Await() {
    const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    if (state != last_state_) on_state_(state);
    last_state_ = state;
    channel_->NotifyOnStateChange(state, std::chrono::system_clock::now() + kStopCheckInterval,
                                  &queue_->completions(), Tag());
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<rpc::CompletionQueue> queue_;
  const OnState on_state_;
  std::optional<grpc_connectivity_state> last_state_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

BackendWatch::BackendWatch(const BackendChannels& channels, const std::string& target)
    : calls_(std::make_unique<Watched>(channels.calls, channels.queue, StateLog(target))),
      bodies_(std::make_unique<Watched>(channels.bodies, channels.queue,
                                        [](grpc_connectivity_state) {})) {}

BackendWatch::~BackendWatch() = default;

}  // namespace backup::bridge
