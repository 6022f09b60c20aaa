#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace backup {

struct HostAndPort {
  std::string host;  // Without brackets. Empty for every address of this machine.
  int port = 0;
};

// Takes HOST:PORT or [HOST]:PORT apart; InvalidArgument if `address` is neither. Thread-safe.
absl::StatusOr<HostAndPort> SplitHostAndPort(absl::string_view address);

struct ListeningSocket {
  UniqueFd fd;  // Non-blocking; connections wait in the kernel until they are accepted.
  int port = 0;
};

// Listens on a TCP port; 0 is any free one. `source` says in errors where the address comes from,
// for example --listen. InvalidArgument if there is no such host; the exit code kExitInUse if
// others listen there. Thread-safe.
absl::StatusOr<ListeningSocket> ListenOnTcp(const HostAndPort& address, absl::string_view source);

// Listens on the unix socket `path`. Removes the one that a killed process left there; nothing
// else, and no socket that somebody answers on. FailedPrecondition, with the exit code kExitInUse
// if somebody does, otherwise. Thread-safe.
absl::StatusOr<UniqueFd> ListenOnUnix(const std::string& path, absl::string_view source);

}  // namespace backup
