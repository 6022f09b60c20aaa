#pragma once

#include <set>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace grpc {
class ClientContext;
}

namespace backup::ctl {

// Turns SIGINT, SIGTERM and SIGHUP (unless that is ignored) into cancelled calls, so that whatever
// runs returns in the ordinary way and removes its partial files; a second signal ends the process
// at once with code 130. Make it before any other thread starts: the signals are blocked in this
// thread and in those that it starts. Thread-safe.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // What a signal does: cancels every call that runs, or will.
  void Request();
  bool requested() const;
  // Cancelled once requested.
  absl::Status Check() const;
  // True at once when requested; false after `duration`.
  bool WaitFor(absl::Duration duration) const;

  // `call` is cancelled on request until it is removed.
  void Add(grpc::ClientContext& call);
  void Remove(grpc::ClientContext& call);

 private:
  void Watch(std::stop_token token);

  mutable Mutex mutex_;
  mutable CondVar changed_;
  bool requested_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
  std::jthread watcher_;  // Last: ends before what it uses.
};

}  // namespace backup::ctl
