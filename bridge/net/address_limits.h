#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/ip_network.h"
#include "bridge/net/connection.h"
#include "bridge/net/recent_addresses.h"

namespace backup::bridge {

// At most `count` at once, and within each `span` as many again. A count of 0 is no limit.
struct Rate {
  int64_t count = 0;
  absl::Duration span = absl::ZeroDuration();

  // COUNT/DURATION, as in 1000/1h, or 0; nothing if `text` is neither. The duration is a year at
  // most: the clock has no room for some hundreds of them.
  static std::optional<Rate> Parse(absl::string_view text);
};

inline constexpr absl::string_view kRegistrationsPerAddress = "registrations_per_address";

// Whether something may be done, which then counts as done.
struct Admission {
  // Which limit is in the way, by the name of its flag; empty: none.
  absl::string_view limit = "";
  // For how long to put it off. Infinite: for too long to be waited for, and nothing was counted.
  absl::Duration wait = absl::ZeroDuration();
};

// What counts as one: an address of IPv4, or 64 bits of IPv6, as whoever has one of these has all.
IpNetwork NetworkOf(const IpAddress& address);

// A token bucket for each address. Those seen last are remembered: who was forgotten begins with a
// full bucket. Used by one thread at a time.
class TokenBuckets {
 public:
  static constexpr size_t kMaxAddresses = RecentAddresses<MonotonicTime>::kMaxAddresses;

  // Nobody waits for longer than `longest_wait`.
  TokenBuckets(const Rate& rate, absl::Duration longest_wait)
      : rate_(rate), longest_wait_(longest_wait) {}

  // How long `address` has to wait for the next token. Should the clock go back by much, all begin
  // with a full bucket.
  absl::Duration WaitFor(const IpAddress& address, MonotonicTime now);
  // Gives it that token, for which it does not have to wait for too long.
  void Take(const IpAddress& address, MonotonicTime now);
  size_t size() const { return full_at_.size(); }

 private:
  absl::Duration token() const { return rate_.span / rate_.count; }
  // When all tokens of `address` will be there again. No bucket is full later than an empty one for
  // whose next tokens others wait already, unless the clock went back: that one begins anew.
  MonotonicTime& FullAt(const IpAddress& address, MonotonicTime now);

  const Rate rate_;
  const absl::Duration longest_wait_;
  RecentAddresses<MonotonicTime> full_at_;
};

struct AddressLimitOptions {
  // Of each address; 0 is no limit.
  int64_t connections = 0;
  Rate requests = {};
  Rate registrations = {};
  // Of all together.
  Rate all_registrations = {};
  // How long a request may be put off until it is refused.
  absl::Duration longest_wait = absl::Seconds(10);
};

// What the clients of one address (NetworkOf) may do, and some of it all together. Used by one
// thread at a time.
class AddressLimits {
 public:
  explicit AddressLimits(const AddressLimitOptions& options);

  // One more connection, until RemoveConnection(); false if there are too many, and then it does
  // not count.
  bool AddConnection(const IpAddress& address);
  void RemoveConnection(const IpAddress& address);

  // One more request, of a new client if it `registers`.
  Admission TakeRequest(const IpAddress& address, bool registers, MonotonicTime now);

 private:
  const AddressLimitOptions options_;
  // Of addresses that have any, so as many as there are connections at most.
  absl::flat_hash_map<IpAddress, int64_t> connections_;
  TokenBuckets requests_;
  TokenBuckets registrations_;
  TokenBuckets all_registrations_;  // Of one address, for all.
};

}  // namespace backup::bridge
