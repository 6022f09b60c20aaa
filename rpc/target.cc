#include "rpc/target.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/socket_address.h"
#include "rpc/acceptor.h"

namespace backup::rpc {
namespace {

constexpr absl::string_view kSchemes[] = {
    "unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:", "xds:"};

bool HasScheme(absl::string_view target) {
  return std::any_of(std::begin(kSchemes), std::end(kSchemes),
                     [&](absl::string_view scheme) { return absl::StartsWith(target, scheme); });
}

}  // namespace

absl::StatusOr<std::string> ServiceTarget(absl::string_view service) {
  if (service.empty()) return absl::InvalidArgumentError("the address is empty: give HOST:PORT");
  if (HasScheme(service)) return std::string(service);
  absl::StatusOr<HostAndPort> address = ParseHostAndPort(service, kDefaultPort);
  absl::string_view name = service;
  absl::ConsumePrefix(&name, "tcp://");
  if (!address.ok() && !name.empty() && !absl::StrContains(name, ':'))
    address = HostAndPort{std::string(name), kDefaultPort};
  if (!address.ok()) return address.status();
  if (address->host.empty() || address->host == "::" || address->host == "0.0.0.0")
    address->host = "localhost";
  return AddressText(*address);
}

bool IsLocalTarget(absl::string_view target) {
  if (absl::StartsWith(target, "unix:") || absl::StartsWith(target, "unix-abstract:")) return true;
  for (const absl::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"})
    if (absl::ConsumePrefix(&target, scheme)) break;
  const absl::StatusOr<HostAndPort> address = ParseHostAndPort(target, kDefaultPort);
  return IsLoopback(address.ok() ? address->host : target);
}

std::string PeerText(absl::string_view grpc_peer) {
  // The brackets of an IPv6 number come percent-encoded.
  std::string text = absl::StrReplaceAll(grpc_peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  absl::string_view address = text;
  if (!absl::ConsumePrefix(&address, "ipv4:") && !absl::ConsumePrefix(&address, "ipv6:"))
    return text;
  const absl::StatusOr<HostAndPort> parts = ParseHostAndPort(address);
  return parts.ok() ? AddressText(*parts) : std::string(address);
}

}  // namespace backup::rpc
