#include "base/io_engine.h"

#include <unistd.h>

#include <cerrno>
#include <deque>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace backup {
namespace {

ssize_t DoNow(const IoOperation& operation) {
  while (true) {
    const ssize_t result =
        operation.kind == IoOperation::Kind::kRead
            ? ::pread(operation.fd, operation.data, operation.size, operation.offset)
            : ::pwrite(operation.fd, operation.data, operation.size, operation.offset);
    if (result >= 0 || errno != EINTR) return result < 0 ? -errno : result;
  }
}

// Unlike a WorkerPool it lets nothing wait for a thread that the system has no room for.
class ThreadEngine final : public IoEngine {
 public:
  explicit ThreadEngine(ThreadStarter start) : start_(std::move(start)) {}
  ~ThreadEngine() override {
    {
      MutexLock lock(mutex_);
      ending_ = true;
      changed_.NotifyAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  bool TryStart(const IoOperation& operation, IoWaiter& waiter) override {
    MutexLock lock(mutex_);
    if (idle_ == queue_.size() && !AddThread()) return false;
    queue_.push_back({operation, &waiter});
    changed_.NotifyOne();
    return true;
  }
  const char* name() const override { return "threads"; }

 private:
  struct Entry {
    IoOperation operation;
    IoWaiter* waiter = nullptr;
  };

  bool AddThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (threads_.size() == static_cast<size_t>(kMaxThreads)) return false;
    std::optional<std::thread> thread = start_([this] { Work(); });
    if (!thread) return false;
    threads_.push_back(*std::move(thread));
    ++idle_;
    return true;
  }

  void Work() {
    mutex_.Lock();
    while (true) {
      while (queue_.empty() && !ending_) changed_.Wait(mutex_);
      if (queue_.empty()) break;
      const Entry entry = queue_.front();
      queue_.pop_front();
      --idle_;
      mutex_.Unlock();
      entry.waiter->Done(DoNow(entry.operation));
      mutex_.Lock();
      ++idle_;
    }
    mutex_.Unlock();
  }

  const ThreadStarter start_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mutex_);  // Each has a thread that is about to take it.
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;  // Threads without an operation.
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};
static_assert(IoEngine::kMaxThreads <= IoEngine::kMaxInFlight);

}  // namespace

std::unique_ptr<IoEngine> IoEngine::MakeThreads(ThreadStarter start) {
  return std::make_unique<ThreadEngine>(std::move(start));
}

IoEngine& IoEngine::Default() {
  static IoEngine& engine = *[] {
    std::unique_ptr<IoEngine> uring = TryMakeUring();
    return (uring ? std::move(uring) : MakeThreads()).release();
  }();
  return engine;
}

}  // namespace backup
