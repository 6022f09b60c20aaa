#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/listening_socket.h"

namespace backup::bridge {

// The port to listen on if nobody says another.
inline constexpr int kDefaultPort = 1357;

struct PortRules {
  int port = -1;          // Negative: take the one in `port_file`.
  std::string port_file;  // A text file with one number; a bad or missing one is a warning, and
                          // kDefaultPort is taken.
  std::vector<int> fallback_ports;  // If the port is in use.
};

// The ports to try, in this order.
std::vector<int> PortsToTry(const PortRules& rules);

// Listens on `host` on the first of `ports` that is not in use; port 0 is any free one.
// AlreadyExists if all are in use.
absl::StatusOr<ListeningSocket> ListenOnFirstFree(const std::string& host,
                                                  std::span<const int> ports);

}  // namespace backup::bridge
