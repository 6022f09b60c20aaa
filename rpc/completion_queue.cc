#include "rpc/completion_queue.h"

#include <optional>
#include <utility>

#include "base/mutex.h"
#include "glog/logging.h"
#include "grpcpp/alarm.h"
#include "rpc/deadline.h"

namespace backup::rpc {
namespace {

// One CallAfter(), until it has called: it deletes itself then.
class Timer final : public CompletionQueue::Event {
 public:
  explicit Timer(std::function<void()> done) : done_(std::move(done)) {}

  void Start(grpc::CompletionQueue& queue, absl::Duration delay, std::stop_token token) {
    // First: once the alarm is set, this may end at any moment.
    cancel_.emplace(std::move(token), Cancel{*this});
    MutexLock lock(mutex_);
    alarm_.Set(&queue, DeadlineAfter(cancelled_ ? absl::ZeroDuration() : delay), Tag());
    is_set_ = true;
  }

  void Happen() override {
    { MutexLock lock(mutex_); }  // Until Start() has let go of it.
    cancel_.reset();
    const std::function<void()> done = std::move(done_);
    delete this;
    done();
  }

 private:
  struct Cancel {
    Timer& timer;
    void operator()() const {
      MutexLock lock(timer.mutex_);
      timer.cancelled_ = true;
      if (timer.is_set_) timer.alarm_.Cancel();
    }
  };

  std::function<void()> done_;
  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_set_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::stop_callback<Cancel>> cancel_;
};

}  // namespace

CompletionQueue::CompletionQueue()
    : thread_([this] {
        void* tag = nullptr;
        bool ok = false;
        while (completions_.Next(&tag, &ok)) {
          auto& event = *static_cast<Event*>(tag);
          CHECK(event.ready_.load(std::memory_order_acquire));
          event.Happen();
        }
      }) {}

CompletionQueue::~CompletionQueue() {
  completions_.Shutdown();
  thread_.join();
}

void CompletionQueue::CallAfter(absl::Duration delay, std::stop_token token,
                                std::function<void()> done) {
  (new Timer(std::move(done)))->Start(completions_, delay, std::move(token));
}

}  // namespace backup::rpc
