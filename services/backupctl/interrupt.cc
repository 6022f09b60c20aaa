#include "services/backupctl/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "grpcpp/client_context.h"
#include "services/backupctl/exit_code.h"

namespace backup::ctl {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  struct sigaction hangup = {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  // Under nohup it goes on.
  if (hangup.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  watcher_ = std::jthread([this](std::stop_token token) { Watch(std::move(token)); });
}

Interrupt::~Interrupt() {
  watcher_.request_stop();
  pthread_kill(watcher_.native_handle(), SIGTERM);  // Wakes sigwait().
}

void Interrupt::Watch(std::stop_token token) {
  const sigset_t signals = StopSignals();
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (token.stop_requested()) return;
    if (requested()) ::_exit(static_cast<int>(ExitCode::kInterrupted));
    Request();
  }
}

void Interrupt::Request() {
  MutexLock lock(mutex_);
  requested_ = true;
  for (grpc::ClientContext* call : calls_) call->TryCancel();
  changed_.NotifyAll();
}

bool Interrupt::requested() const {
  MutexLock lock(mutex_);
  return requested_;
}

absl::Status Interrupt::Check() const {
  return requested() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

bool Interrupt::WaitFor(absl::Duration duration) const {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration);
  MutexLock lock(mutex_);
  while (!requested_) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return true;
}

void Interrupt::Add(grpc::ClientContext& call) {
  MutexLock lock(mutex_);
  calls_.insert(&call);
  if (requested_) call.TryCancel();
}

void Interrupt::Remove(grpc::ClientContext& call) {
  MutexLock lock(mutex_);
  calls_.erase(&call);
}

}  // namespace backup::ctl
