#pragma once

#include <cstddef>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ip_network.h"

namespace backup::bridge {

// What a balancer that speaks the PROXY protocol, version 1 or 2, says in front of a connection's
// own bytes: https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt.

// A line of version 1, with its end: the longest that the protocol allows.
inline constexpr size_t kMaxProxyLineSize = 107;
// What follows the first 16 bytes of version 2. The protocol would allow 65535 bytes; addresses
// and what is known to stand behind them (names, an id, a digest) are some hundreds.
inline constexpr size_t kMaxProxyBodySize = 2048;
// No header is longer.
inline constexpr size_t kMaxProxyHeaderSize = 16 + kMaxProxyBodySize;

struct ProxyHeader {
  struct Client {
    IpAddress address;
    int port = 0;
    bool operator==(const Client&) const = default;
  };

  size_t size = 0;  // The connection's own bytes begin behind so many.
  // Nothing if the connection is the balancer's own (LOCAL), or of a kind that it does not tell
  // (UNKNOWN, unspecified).
  std::optional<Client> client;
};

// The header that `bytes` begin with; nothing while its end, or its first bytes, are still to come.
// InvalidArgument, with what is wrong, once no further bytes can make a header of them: it is none,
// is too long, or is not about a TCP connection. The same bytes always give the same answer,
// however they arrived. Stateless.
absl::StatusOr<std::optional<ProxyHeader>> DecodeProxyHeader(absl::string_view bytes);

}  // namespace backup::bridge
