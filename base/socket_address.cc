#include "base/socket_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace backup {
namespace {

constexpr int kMaxPort = 65535;
constexpr absl::string_view kScheme = "tcp://";

absl::Status NoAddress(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(text, " is not HOST:PORT: ", why));
}

std::string Text(int family, const void* number) {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  ::inet_ntop(family, number, text.data(), text.size());
  return text.data();
}

std::string Text(const in6_addr& number) {
  return IN6_IS_ADDR_V4MAPPED(&number) ? Text(AF_INET, &number.s6_addr[12])
                                       : Text(AF_INET6, &number);
}

bool IsIpv6(absl::string_view host) { return absl::StrContains(host, ':'); }

// Without the scheme and slash of a URL.
absl::string_view WithoutScheme(absl::string_view text) {
  if (absl::ConsumePrefix(&text, kScheme)) absl::ConsumeSuffix(&text, "/");
  return text;
}

// Whether `host` is neither a number nor the beginning of one.
bool IsName(absl::string_view host) {
  return !IsIpv6(host) && std::any_of(host.begin(), host.end(), absl::ascii_isalpha);
}

// The numbers of a name.
absl::StatusOr<std::vector<std::string>> NumbersOf(const std::string& name) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the name ", name, " leads to no address: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  std::vector<std::string> numbers;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    numbers.push_back(
        at->ai_family == AF_INET6
            ? Text(reinterpret_cast<const sockaddr_in6*>(at->ai_addr)->sin6_addr)
            : Text(AF_INET, &reinterpret_cast<const sockaddr_in*>(at->ai_addr)->sin_addr));
  }
  return numbers;
}

}  // namespace

std::optional<std::string> NumericHost(absl::string_view text) {
  if (absl::StartsWith(text, "[") && absl::EndsWith(text, "]")) {
    text = text.substr(1, text.size() - 2);
    if (!IsIpv6(text)) return std::nullopt;
  }
  in_addr number = {};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &number) == 1) return Text(AF_INET, &number);
  // A link-local address may say of which interface.
  const size_t zone = text.find('%');
  in6_addr number6 = {};
  if (::inet_pton(AF_INET6, std::string(text.substr(0, zone)).c_str(), &number6) != 1)
    return std::nullopt;
  return absl::StrCat(Text(number6), zone == absl::string_view::npos ? "" : text.substr(zone));
}

std::optional<std::string> HostOfBytes(absl::string_view bytes) {
  if (bytes.size() == sizeof(in_addr)) return Text(AF_INET, bytes.data());
  if (bytes.size() != sizeof(in6_addr)) return std::nullopt;
  in6_addr number6 = {};
  std::memcpy(&number6, bytes.data(), sizeof(number6));
  return Text(number6);
}

absl::StatusOr<HostAndPort> ParseHostAndPort(absl::string_view text,
                                             std::optional<int> default_port) {
  const absl::string_view address = WithoutScheme(text);
  const std::optional<std::string> alone =
      address == "*" || address == "[*]" ? std::string() : NumericHost(address);
  if (alone && default_port) return HostAndPort{*alone, *default_port};
  if (alone) return NoAddress(text, "the port is missing");
  const size_t colon = address.rfind(':');
  HostAndPort parts;
  if (colon == absl::string_view::npos) return NoAddress(text, "the port is missing");
  if (!absl::SimpleAtoi(address.substr(colon + 1), &parts.port) || parts.port < 0 ||
      parts.port > kMaxPort) {
    return NoAddress(text, absl::StrCat("a port is a number from 0 to ", kMaxPort));
  }
  const absl::string_view host = address.substr(0, colon);
  if (host == "*") return parts;
  const std::optional<std::string> number = NumericHost(host);
  if (IsIpv6(host) && !(number && absl::StartsWith(host, "["))) {
    return NoAddress(text, "an IPv6 address stands in brackets, as in [::1]:1357");
  }
  parts.host = number ? *number : std::string(host);
  return parts;
}

std::string AddressText(const HostAndPort& address) {
  if (address.host.empty()) return absl::StrCat("*:", address.port);
  return IsIpv6(address.host) ? absl::StrCat("[", address.host, "]:", address.port)
                              : absl::StrCat(address.host, ":", address.port);
}

std::string AddressText(const sockaddr* address, socklen_t size) {
  if (address->sa_family == AF_INET6) {
    const auto& in6 = *reinterpret_cast<const sockaddr_in6*>(address);
    std::string host = Text(in6.sin6_addr);
    char zone[IF_NAMESIZE];
    if (in6.sin6_scope_id != 0 && ::if_indextoname(in6.sin6_scope_id, zone) != nullptr)
      absl::StrAppend(&host, "%", zone);
    return AddressText(HostAndPort{std::move(host), ntohs(in6.sin6_port)});
  }
  if (address->sa_family == AF_INET) {
    const auto& in = *reinterpret_cast<const sockaddr_in*>(address);
    return AddressText(HostAndPort{Text(AF_INET, &in.sin_addr), ntohs(in.sin_port)});
  }
  const auto& un = *reinterpret_cast<const sockaddr_un*>(address);
  const size_t path_size = size - offsetof(sockaddr_un, sun_path);
  return absl::StrCat("unix:", absl::string_view(un.sun_path, ::strnlen(un.sun_path, path_size)));
}

bool IsLoopback(absl::string_view host) {
  if (host == "localhost") return true;
  const std::optional<std::string> number = NumericHost(host);
  if (!number) return false;  // A name like 127.example.com may lead anywhere.
  in_addr ip = {};
  return *number == "::1" || (::inet_pton(AF_INET, number->c_str(), &ip) == 1 &&
                              (ntohl(ip.s_addr) >> 24) == IN_LOOPBACKNET);
}

absl::StatusOr<std::vector<std::string>> AddressPrefixes(absl::string_view text) {
  constexpr int kAnyPort = -1;
  const absl::string_view address = WithoutScheme(text);
  absl::StatusOr<HostAndPort> parts = ParseHostAndPort(address, kAnyPort);
  if (!parts.ok() && IsName(address)) parts = HostAndPort{std::string(address), kAnyPort};
  if (!parts.ok()) {
    // The beginning of a number; those of IPv6 stand in brackets.
    const bool is_ipv6 = !address.empty() && absl::StrContains(address, ':') &&
                         !absl::StrContains(address, '.') && address[0] != '[';
    return std::vector<std::string>{absl::StrCat(is_ipv6 ? "[" : "", address)};
  }
  if (parts->host.empty() || parts->host == "::" || parts->host == "0.0.0.0") {
    if (parts->port == kAnyPort) return std::vector<std::string>{""};
    return absl::InvalidArgumentError(
        absl::StrCat(text, " is a port of any host: name the host, or no port"));
  }
  std::vector<std::string> hosts = {parts->host};
  if (IsName(parts->host)) {
    ASSIGN_OR_RETURN(hosts, NumbersOf(parts->host));
  }
  std::vector<std::string> prefixes;
  for (const std::string& host : hosts) {
    std::string prefix = AddressText(HostAndPort{host, parts->port});
    if (parts->port == kAnyPort) prefix.resize(prefix.rfind(':') + 1);
    prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

}  // namespace backup
