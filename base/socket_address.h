#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup {

// How addresses are written, everywhere: HOST:PORT, [NUMBER]:PORT. All here is thread-safe.

struct HostAndPort {
  // A name or a number, without brackets. A number is in its shortest form, and an IPv4 one also
  // where it was written as part of IPv6 (::ffff:1.2.3.4). Empty for every address of this machine.
  std::string host;
  int port = 0;
};

// Understands HOST:PORT, [NUMBER]:PORT, *:PORT, and tcp:// before any of them; with a
// `default_port` also [NUMBER], a number (::1, 127.0.0.1) or * alone. InvalidArgument, with what
// is wrong and what it should be, otherwise.
absl::StatusOr<HostAndPort> ParseHostAndPort(absl::string_view text,
                                             std::optional<int> default_port = std::nullopt);

// The reverse; * for every address of this machine.
std::string AddressText(const HostAndPort& address);

// The same of a socket's address. What came over IPv4 looks like it, also on a socket of both.
// "unix:PATH" for a unix socket.
std::string AddressText(const sockaddr* address, socklen_t size);

// What `text` is if it is the number of a host, with or without brackets, in its shortest form.
std::optional<std::string> NumericHost(absl::string_view text);

// The number of a host as text: its 4 or 16 bytes, in network order.
std::optional<std::string> HostOfBytes(absl::string_view bytes);

// Whether `host` can only be this machine: localhost, 127.0.0.0/8, ::1.
bool IsLoopback(absl::string_view host);

// What the texts of all addresses that `text` means begin with: those of a host (of all addresses
// of its name), of a host and port, or whatever numbers begin like it, such as 10.1. ; *,
// nothing, :: and 0.0.0.0 mean any. InvalidArgument if a name leads to no address, or one port of
// any address is meant. Blocks while a name is looked
// up.
absl::StatusOr<std::vector<std::string>> AddressPrefixes(absl::string_view text);

}  // namespace backup
