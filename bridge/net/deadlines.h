#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/time/time.h"
#include "bridge/net/connection.h"

namespace backup::bridge {

// At most one deadline for each connection number. Used by one thread at a time.
class Deadlines {
 public:
  // Replaces the one that `number` had. An infinite `timeout` sets none.
  void Set(uint64_t number, absl::Duration timeout);
  void Clear(uint64_t number);

  // How long epoll may wait for the first of them: -1 for ever.
  int WaitMilliseconds() const;
  // Removes one that has passed, if any, and tells whose it was.
  std::optional<uint64_t> TakePassed();

 private:
  std::set<std::pair<MonotonicTime, uint64_t>> in_order_;
  std::map<uint64_t, MonotonicTime> by_number_;
};

}  // namespace backup::bridge
