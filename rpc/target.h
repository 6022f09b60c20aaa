#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::rpc {

// The gRPC target that `service` means: an address as ParseHostAndPort() understands it, or a name
// alone, with the service's port where none is given; or any target with a scheme of gRPC's
// (unix:, dns:, ipv4:, ...), which stays as it is. Every address of this machine (*, ::, 0.0.0.0)
// is called at localhost. InvalidArgument, with what is wrong, otherwise. Thread-safe.
absl::StatusOr<std::string> ServiceTarget(absl::string_view service);

// Whether a gRPC target can only lead to this machine. Thread-safe.
bool IsLocalTarget(absl::string_view target);

// What gRPC calls a peer ("ipv4:1.2.3.4:5"), as we write addresses. Thread-safe.
std::string PeerText(absl::string_view grpc_peer);

}  // namespace backup::rpc
