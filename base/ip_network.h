#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup {

// The number of a host, of IPv4 or IPv6. An IPv4 number that is written as part of IPv6
// (::ffff:1.2.3.4) is the IPv4 number. A value; by default ::.
class IpAddress {
 public:
  IpAddress() = default;
  // Of a number without port, brackets or zone; nothing if it is none.
  static std::optional<IpAddress> Parse(absl::string_view text);
  // Of its 4 or 16 bytes, in network order; nothing for other sizes.
  static std::optional<IpAddress> FromBytes(absl::string_view bytes);
  // Of a socket's address; :: for a socket that has no number.
  static IpAddress FromSocket(const sockaddr* address);

  bool is_ipv4() const;
  // Its first `bits` bits, at most 128, the others 0. An IPv4 number is the last 32 of its 128
  // bits.
  IpAddress Masked(int bits) const;
  // In its shortest form.
  std::string text() const;

  auto operator<=>(const IpAddress&) const = default;
  template <typename H>
  friend H AbslHashValue(H hash, const IpAddress& address) {
    return H::combine(std::move(hash), address.bytes_);
  }

 private:
  std::array<uint8_t, 16> bytes_ = {};  // In network order, IPv4 behind ::ffff:.
};

// A network of hosts, or a single one. A value; by default ::.
class IpNetwork {
 public:
  IpNetwork() = default;
  // The first `bits` bits of `address`, at most 128, as of IpAddress::Masked().
  IpNetwork(const IpAddress& address, int bits) : first_(address.Masked(bits)), bits_(bits) {}
  // Of NUMBER/BITS or NUMBER, as of IpNetworks::Parse().
  static absl::StatusOr<IpNetwork> Parse(absl::string_view text);

  const IpAddress& first() const { return first_; }
  // Of the 128 that first() has.
  int bits() const { return bits_; }
  // How many bits its own family says that it has: 8 of 10.0.0.0/8.
  int family_bits() const;
  bool Contains(const IpAddress& address) const;
  // Whether some host is in both.
  bool Overlaps(const IpNetwork& other) const;
  // In its shortest form, which Parse() takes; of a single host, its number alone.
  std::string text() const;

  auto operator<=>(const IpNetwork&) const = default;
  template <typename H>
  friend H AbslHashValue(H hash, const IpNetwork& network) {
    return H::combine(std::move(hash), network.first_, network.bits_);
  }

 private:
  IpAddress first_;
  int bits_ = 128;
};

// Networks of hosts. A value.
class IpNetworks {
 public:
  IpNetworks() = default;
  // Of NUMBER/BITS or NUMBER, a single host, with commas between them: 10.0.0.0/8,2001:db8::/32.
  // Spaces around one do not matter, nor does a comma at the end; nothing at all is no network.
  // InvalidArgument says which one is wrong, and why: no number, too many bits, or more of the
  // number than its network has, as in 10.1.0.0/8. Commas alone are wrong, too: they may be what is
  // left of a list, and without one all may connect.
  static absl::StatusOr<IpNetworks> Parse(absl::string_view text);

  bool empty() const { return networks_.empty(); }
  // An IPv4 host is in networks of IPv4 only: ::/0 is every host of IPv6, 0.0.0.0/0 every one of
  // IPv4.
  bool Contains(const IpAddress& address) const;
  // Whether some host of `network` is in them.
  bool Overlap(const IpNetwork& network) const;
  // These and `others`.
  void Add(const IpNetworks& others);

 private:
  std::vector<IpNetwork> networks_;
};

}  // namespace backup
