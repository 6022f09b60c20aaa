#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "bridge/request/session.h"

namespace backup::bridge {

// What other threads have for an event loop, which it is woken for. Outlives the loop if need be,
// because whoever put the last thing in may not have returned from that yet. Thread-safe.
class LoopMailbox {
 public:
  using Task = std::function<void()>;
  struct Mail {
    std::vector<std::pair<uint64_t, Served>> served;  // Connections, by number.
    std::vector<Task> tasks;                          // That may block: for workers.
  };

  // `wake` is an eventfd that does not block.
  explicit LoopMailbox(UniqueFd wake) : wake_(std::move(wake)) {}

  // For the loop to watch.
  int wake_fd() const { return wake_.get(); }

  void AddServed(uint64_t number, Served served);
  void AddTask(Task task);
  // Ends the loop's wait.
  void Wake();

  // For the loop: once it has seen that it was woken; what has come since the last time.
  void ClearWake();
  Mail Take();

 private:
  // Of what was put in: whether the loop was woken for something already.
  bool IsFirst() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return mail_.served.size() + mail_.tasks.size() == 1;
  }

  const UniqueFd wake_;
  Mutex mutex_;
  Mail mail_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::bridge
