#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "rpc/tls.h"

namespace backup::rpc {

// What a program calls its options, for the remedies.
struct ConnectionOptionNames {
  absl::string_view service;
  absl::string_view ca;
  absl::string_view cert_and_key;
  absl::string_view server_name;
};

// How a program means to reach the service.
struct ConnectionPlan {
  std::string target;  // Of gRPC.
  TlsFiles tls;
  std::string server_name;  // Empty: the target's.
  ConnectionOptionNames names;
};

// Connects once, as a gRPC channel would, to find out what gRPC does not tell: why there is no
// connection. Returns a sentence with cause and remedy, without bytes that were not checked; empty
// if all went well, or the target is of a kind (several addresses, a proxy) that cannot be tried so
// simply. Blocks for `timeout` at most for each of: finding the name, each address, the handshake.
// Thread-safe.
std::string DiagnoseConnection(const ConnectionPlan& plan, absl::Duration timeout);

}  // namespace backup::rpc
