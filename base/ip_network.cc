#include "base/ip_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/printable.h"
#include "base/status_macros.h"

namespace backup {
namespace {

// How IPv6 writes an IPv4 number: behind these bytes.
constexpr std::array<uint8_t, 12> kIpv4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
constexpr int kIpv4PrefixBits = 96;
constexpr int kAllBits = 128;

// Whoever calls the API chooses `text`, and it is told and logged.
absl::Status NoNetwork(absl::string_view text, absl::string_view why) {
  constexpr size_t kMaxTold = 64;  // Longer than any network.
  return absl::InvalidArgumentError(
      absl::StrCat("\"", Printable(text.substr(0, kMaxTold)), "\" is no network: ", why));
}

}  // namespace

std::optional<IpAddress> IpAddress::Parse(absl::string_view text) {
  const std::string number(text);
  if (number.find('\0') != std::string::npos) return std::nullopt;  // inet_pton() stops there.
  std::array<char, sizeof(in6_addr)> bytes;
  if (::inet_pton(AF_INET, number.c_str(), bytes.data()) == 1)
    return FromBytes({bytes.data(), sizeof(in_addr)});
  if (::inet_pton(AF_INET6, number.c_str(), bytes.data()) == 1)
    return FromBytes({bytes.data(), sizeof(in6_addr)});
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::FromBytes(absl::string_view bytes) {
  IpAddress address;
  if (bytes.size() == sizeof(in_addr)) {
    std::copy(kIpv4Prefix.begin(), kIpv4Prefix.end(), address.bytes_.begin());
  } else if (bytes.size() != sizeof(in6_addr)) {
    return std::nullopt;
  }
  std::memcpy(address.bytes_.data() + address.bytes_.size() - bytes.size(), bytes.data(),
              bytes.size());
  return address;
}

IpAddress IpAddress::FromSocket(const sockaddr* address) {
  const void* number = nullptr;
  size_t size = sizeof(in6_addr);
  if (address->sa_family == AF_INET6) {
    number = &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  } else if (address->sa_family == AF_INET) {
    number = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
    size = sizeof(in_addr);
  }
  if (number == nullptr) return IpAddress();
  return *FromBytes({static_cast<const char*>(number), size});
}

bool IpAddress::is_ipv4() const {
  return std::equal(kIpv4Prefix.begin(), kIpv4Prefix.end(), bytes_.begin());
}

IpAddress IpAddress::Masked(int bits) const {
  IpAddress masked = *this;
  for (int i = 0; i < static_cast<int>(masked.bytes_.size()); ++i) {
    const int kept = std::clamp(bits - 8 * i, 0, 8);
    masked.bytes_[static_cast<size_t>(i)] &= static_cast<uint8_t>(0xFF00 >> kept);
  }
  return masked;
}

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  const bool ipv4 = is_ipv4();
  ::inet_ntop(ipv4 ? AF_INET : AF_INET6, bytes_.data() + (ipv4 ? kIpv4Prefix.size() : 0),
              text.data(), text.size());
  return text.data();
}

absl::StatusOr<IpNetworks> IpNetworks::Parse(absl::string_view text) {
  IpNetworks networks;
  for (const absl::string_view one : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    ASSIGN_OR_RETURN(const IpNetwork network, IpNetwork::Parse(absl::StripAsciiWhitespace(one)));
    networks.networks_.push_back(network);
  }
  if (networks.empty() && absl::StrContains(text, ','))
    return NoNetwork(text, "there are commas alone");
  return networks;
}

bool IpNetworks::Contains(const IpAddress& address) const {
  return std::any_of(networks_.begin(), networks_.end(),
                     [&](const IpNetwork& network) { return network.Contains(address); });
}

bool IpNetworks::Overlap(const IpNetwork& network) const {
  return std::any_of(networks_.begin(), networks_.end(),
                     [&](const IpNetwork& one) { return one.Overlaps(network); });
}

void IpNetworks::Add(const IpNetworks& others) {
  networks_.insert(networks_.end(), others.networks_.begin(), others.networks_.end());
}

absl::StatusOr<IpNetwork> IpNetwork::Parse(absl::string_view text) {
  const size_t slash = text.find('/');
  const absl::string_view number = text.substr(0, slash);
  const std::optional<IpAddress> address = IpAddress::Parse(number);
  if (!address) return NoNetwork(text, "it is NUMBER or NUMBER/BITS, such as 10.0.0.0/8");
  if (slash == absl::string_view::npos) return IpNetwork(*address, kAllBits);
  // As it is written: ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const bool is_short = number.find(':') == absl::string_view::npos;
  const int most = is_short ? kAllBits - kIpv4PrefixBits : kAllBits;
  int bits = 0;
  if (!absl::SimpleAtoi(text.substr(slash + 1), &bits) || bits < 0 || bits > most)
    return NoNetwork(text, absl::StrCat("it has 0 to ", most, " bits"));
  if (is_short) bits += kIpv4PrefixBits;
  const IpNetwork network(*address, bits);
  const IpAddress& first = network.first();
  if (first == *address) return network;
  const int written_bits = first.is_ipv4() ? bits - kIpv4PrefixBits : bits;
  return NoNetwork(text,
                   absl::StrCat("of so many bits that would be ", first.text(), "/", written_bits));
}

int IpNetwork::family_bits() const { return first_.is_ipv4() ? bits_ - kIpv4PrefixBits : bits_; }

bool IpNetwork::Contains(const IpAddress& address) const {
  return address.is_ipv4() == first_.is_ipv4() && address.Masked(bits_) == first_;
}

bool IpNetwork::Overlaps(const IpNetwork& other) const {
  return Contains(other.first_) || other.Contains(first_);
}

std::string IpNetwork::text() const {
  return bits_ == kAllBits ? first_.text() : absl::StrCat(first_.text(), "/", family_bits());
}

}  // namespace backup
