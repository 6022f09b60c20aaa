#pragma once

#include <cstddef>
#include <list>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/ip_network.h"

namespace backup::bridge {

// A value for each of the addresses that were seen last, at most kMaxAddresses: the one that was
// not seen for longest is forgotten for a new one. Used by one thread at a time.
template <typename Value>
class RecentAddresses {
 public:
  // About 6 MiB with a small value.
  static constexpr size_t kMaxAddresses = 65'536;

  // The value of `address`, which is seen now; of a new one, `initial`.
  Value& See(const IpAddress& address, Value initial) {
    if (const auto found = by_address_.find(address); found != by_address_.end()) {
      in_order_.splice(in_order_.begin(), in_order_, found->second);
      return in_order_.front().second;
    }
    in_order_.emplace_front(address, std::move(initial));
    by_address_.emplace(address, in_order_.begin());
    if (in_order_.size() > kMaxAddresses) {
      by_address_.erase(in_order_.back().first);
      in_order_.pop_back();
    }
    return in_order_.front().second;
  }
  // Null if it was not seen, or is forgotten. Does not see it.
  const Value* Find(const IpAddress& address) const {
    const auto found = by_address_.find(address);
    return found == by_address_.end() ? nullptr : &found->second->second;
  }
  size_t size() const { return in_order_.size(); }

 private:
  using List = std::list<std::pair<IpAddress, Value>>;

  List in_order_;  // Those seen last in front.
  absl::flat_hash_map<IpAddress, typename List::iterator> by_address_;
};

}  // namespace backup::bridge
