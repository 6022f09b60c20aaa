#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/socket_address.h"
#include "base/unique_fd.h"

namespace backup {

struct ListeningSocket {
  UniqueFd fd;  // Non-blocking; connections wait in the kernel until they are accepted.
  int port = 0;
  std::string address;  // What it is bound to, as text.
};

// Listens on a TCP port; 0 is any free one. Every address of this machine is those of IPv6, if it
// has any, and IPv4 on one socket; so is the number ::. `source` says in errors where the address
// comes from, for example --listen. InvalidArgument if there is no such host; the exit code
// kExitInUse if others listen there. Thread-safe.
absl::StatusOr<ListeningSocket> ListenOnTcp(const HostAndPort& address, absl::string_view source);

// Listens on the unix socket `path`, to which its user and group may connect. Removes the one that
// a killed process left there; nothing else, and no socket that somebody answers on.
// FailedPrecondition, with the exit code kExitInUse if somebody does, otherwise. Thread-safe.
absl::StatusOr<UniqueFd> ListenOnUnix(const std::string& path, absl::string_view source);

}  // namespace backup
