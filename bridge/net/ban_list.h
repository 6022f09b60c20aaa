#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/ip_network.h"
#include "base/mutex.h"
#include "bridge/net/connection.h"

namespace backup::bridge {

// A ban that an address earned here.
struct EarnedBan {
  IpNetwork network;
  absl::Duration duration;  // From when on it is told.
  int64_t strikes = 1;      // In a row, this one counted.
  std::string reason;
};

// A ban that somebody else knows of.
struct KnownBan {
  IpNetwork network;
  absl::Duration remaining;  // 0: it is over, and only its strikes count. May be infinite.
  int64_t strikes = 0;
};

struct BanListOptions {
  // Of an address that is banned for the first time; each further time in a row for twice as long.
  absl::Duration first = absl::Minutes(1);
  absl::Duration longest = absl::Hours(1);
  // Who comes from there is never turned away, whoever says so.
  IpNetworks never;
};

// Whose connections are turned away, and for how long: what was earned here, and what the service
// tells, which is in the place of what it was told. Thread-safe.
class BanList {
 public:
  // How long after its end a ban still counts for the next one.
  static constexpr absl::Duration kMemory = absl::Hours(24);
  // What is beyond that is not banned. About 2 MiB.
  static constexpr size_t kMaxBans = 8192;

  explicit BanList(BanListOptions options) : options_(std::move(options)) {}

  // Whether that address is banned.
  bool Contains(const IpAddress& address, MonotonicTime now) const;
  // Bans what counts as the one address (NetworkOf), unless it is banned or never is, or too many
  // are.
  std::optional<EarnedBan> Add(const IpAddress& address, absl::string_view reason,
                               MonotonicTime now);

  // At most `limit` bans that were earned here and that the service was not told of.
  std::vector<EarnedBan> Untold(MonotonicTime now, size_t limit) const;
  // The service keeps them from now on.
  void NoteTold(const std::vector<EarnedBan>& told);
  // The service has just these. Returns those of them, not known before, that networks which are
  // never banned have a part in.
  std::vector<IpNetwork> Replace(const std::vector<KnownBan>& known, MonotonicTime now);

 private:
  struct Entry {
    MonotonicTime end;
    int64_t strikes = 0;
    // Unless the service was told.
    std::optional<std::string> untold_reason = std::nullopt;
  };

  const Entry* FindInForce(const IpAddress& address, MonotonicTime now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(MonotonicTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountSizes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const BanListOptions options_;
  mutable Mutex mutex_;
  absl::flat_hash_map<IpNetwork, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> sizes_ ABSL_GUARDED_BY(mutex_);  // The different bits() of their networks.
};

}  // namespace backup::bridge
