#include "bridge/request/client_order.h"

#include <algorithm>
#include <utility>

namespace backup::bridge {

ClientOrder::Place::Place(Place&& other) noexcept
    : lines_(std::move(other.lines_)), id_(other.id_), self_(other.self_) {}

ClientOrder::Place& ClientOrder::Place::operator=(Place&& other) noexcept {
  if (this == &other) return *this;
  Leave();
  lines_ = std::move(other.lines_);
  id_ = other.id_;
  self_ = other.self_;
  return *this;
}

void ClientOrder::Place::Leave() {
  const std::shared_ptr<Lines> lines = std::move(lines_);
  if (lines == nullptr) return;
  std::function<void(absl::Status)> go;
  std::stop_source own_timer{std::nostopstate};
  std::stop_source timer{std::nostopstate};
  {
    MutexLock lock(lines->mutex);
    const auto found = lines->by_client.find(id_);
    Line& line = found->second;
    const bool was_first = self_ == line.begin();
    own_timer = std::move(self_->timer);
    line.erase(self_);
    if (line.empty()) {
      lines->by_client.erase(found);
    } else if (was_first) {
      go = std::exchange(line.front().go, nullptr);
      timer = std::move(line.front().timer);
    }
  }
  own_timer.request_stop();
  if (!go) return;
  timer.request_stop();
  go(absl::OkStatus());
}

ClientOrder::ClientOrder(rpc::CompletionQueue& queue, absl::Duration longest_wait)
    : queue_(queue), longest_wait_(longest_wait) {}

ClientOrder::Place ClientOrder::Take(const ClientId& id) {
  MutexLock lock(lines_->mutex);
  Line& line = lines_->by_client[id];
  line.push_back({++lines_->last_number, nullptr});
  return {lines_, id, std::prev(line.end())};
}

void ClientOrder::WhenFirst(const Place& place, std::function<void(absl::Status)> go) {
  std::stop_token timer;
  uint64_t number = 0;
  {
    MutexLock lock(lines_->mutex);
    if (place.self_ != lines_->by_client.find(place.id_)->second.begin()) {
      place.self_->go = std::exchange(go, nullptr);
      place.self_->timer = std::stop_source();
      timer = place.self_->timer.get_token();
      number = place.self_->number;
    }
  }
  if (go) return go(absl::OkStatus());
  queue_.CallAfter(longest_wait_, std::move(timer),
                   [lines = lines_, id = place.id_, number] { GiveUp(*lines, id, number); });
}

void ClientOrder::GiveUp(Lines& lines, const ClientId& id, uint64_t number) {
  std::function<void(absl::Status)> go;
  {
    MutexLock lock(lines.mutex);
    const auto line = lines.by_client.find(id);
    if (line == lines.by_client.end()) return;
    const auto waiting = std::find_if(line->second.begin(), line->second.end(),
                                      [&](const Waiting& each) { return each.number == number; });
    if (waiting != line->second.end()) go = std::exchange(waiting->go, nullptr);
  }
  if (go) go(absl::DeadlineExceededError("earlier requests of this client take too long"));
}

}  // namespace backup::bridge
