#include "services/backup/client_trace.h"

#include <chrono>
#include <utility>

#include "absl/strings/match.h"

namespace backup {
namespace {

// How far a watcher may fall behind.
constexpr size_t kMaxWaitingEvents = 1024;

}  // namespace

ClientTrace::Watch::Watch(ClientTrace& owner, std::string client_id, std::string peer)
    : owner_(owner), client_id_(std::move(client_id)), peer_(std::move(peer)) {
  MutexLock lock(owner_.mutex_);
  owner_.watches_.insert(this);
  ++owner_.watch_count_;
}

ClientTrace::Watch::~Watch() {
  MutexLock lock(owner_.mutex_);
  owner_.watches_.erase(this);
  --owner_.watch_count_;
}

std::optional<v1::TraceClientResponse> ClientTrace::Watch::Next(absl::Duration timeout) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  MutexLock lock(owner_.mutex_);
  while (events_.empty()) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return std::nullopt;
    owner_.changed_.WaitFor(owner_.mutex_, absl::FromChrono(left));
  }
  v1::TraceClientResponse event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool ClientTrace::Watch::Wants(const v1::TraceClientResponse& event) const {
  return (client_id_.empty() || event.client_id() == client_id_) &&
         absl::StartsWith(event.peer(), peer_);
}

void ClientTrace::Publish(const v1::TraceClientResponse& event) {
  MutexLock lock(mutex_);
  for (Watch* watch : watches_) {
    if (!watch->Wants(event)) continue;
    if (watch->events_.size() >= kMaxWaitingEvents) {
      ++watch->missed_;
      continue;
    }
    watch->events_.push_back(event);
    watch->events_.back().set_missed_count(std::exchange(watch->missed_, 0));
  }
  changed_.NotifyAll();
}

}  // namespace backup
