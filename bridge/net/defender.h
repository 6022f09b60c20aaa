#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/ip_network.h"
#include "bridge/net/address_limits.h"
#include "bridge/net/ban_list.h"
#include "bridge/net/connection.h"
#include "bridge/net/recent_addresses.h"

namespace backup::bridge {

// What no client of the protocol does, however old it is, however bad its line, and whatever has
// become of the service's data: docs/adr/0047-bans.md.
enum class Offence {
  kForeignProtocol,  // Bytes of another protocol.
  kUnknownRequest,   // A request code of no dialect.
  kMalformedHead,    // A head that breaks a rule of its dialect.
  kIncompleteHead,   // The beginning of a head, and no more of it in time.
  kRegistrations,    // New clients beyond the limit of the address.
};

// Its name in metrics and reasons.
absl::string_view OffenceName(Offence offence);

// Counts offences of each address (NetworkOf), and bans those that commit too many. Used by one
// thread at a time.
class Defender {
 public:
  // So long an address is trusted of which a client was served: those that back up once a month
  // are.
  static constexpr absl::Duration kTrust = absl::Hours(24 * 35);

  // More offences than `ban_after` allows earn a ban; with a count of 0 none do. `bans` must
  // outlive this.
  Defender(const Rate& ban_after, BanList& bans)
      : is_on_(ban_after.count > 0), counts_(ban_after, absl::ZeroDuration()), bans_(bans) {}

  // A client that is known sent a file, or did else what only such a one can: its address is no
  // scanner's, though one may share it.
  void NoteServed(const IpAddress& address, MonotonicTime now);
  // The ban that it earned, if it did.
  std::optional<EarnedBan> NoteOffence(const IpAddress& address, Offence offence,
                                       MonotonicTime now);

 private:
  const bool is_on_;
  TokenBuckets counts_;
  RecentAddresses<MonotonicTime> served_;  // When it was last.
  BanList& bans_;
};

}  // namespace backup::bridge
