#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace backup::capture {

// How packets are wrapped: LINKTYPE_ values (https://www.tcpdump.org/linktypes.html), as libpcap
// says them.
enum class LinkType {
  kNull = 0,
  kEthernet = 1,
  kRaw = 12,
  kRawInFiles = 101,
  kLoop = 108,
  kLinuxCooked = 113,
  kIpv4 = 228,
  kIpv6 = 229,
  kLinuxCooked2 = 276,
};
// Whether FindTcp() knows it.
bool IsKnown(int link_type);

// An end of a connection. Its address has 4 or 16 bytes.
struct Endpoint {
  std::string address;
  uint16_t port = 0;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};
// "192.0.2.1:1357", "[2001:db8::1]:1357".
std::string ToText(const Endpoint& endpoint);

struct TcpSegment {
  Endpoint source;
  Endpoint destination;
  uint32_t sequence = 0;
  bool syn = false;
  bool ack = false;
  bool fin = false;
  bool rst = false;
  size_t payload_size = 0;    // As it was sent.
  absl::string_view payload;  // What was captured of it, in the packet.
};

// What a packet is for us.
struct Unwrapped {
  enum class Kind { kTcp, kFragment, kOther };
  Kind kind = Kind::kOther;
  TcpSegment segment;  // Of kTcp.
};

// Finds the TCP segment in a packet, behind VLAN tags and IPv6 extension headers. Whatever is no
// whole TCP header is kOther, a fragment of an IP packet is kFragment.
Unwrapped FindTcp(LinkType link_type, absl::string_view packet);

}  // namespace backup::capture
