#include "bridge/capture/tcp_segment.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace backup::capture {
namespace {

constexpr uint16_t kEtherIpv4 = 0x0800;
constexpr uint16_t kEtherIpv6 = 0x86DD;
constexpr uint16_t kEtherVlan = 0x8100;
constexpr uint16_t kEtherVlanOfProviders = 0x88A8;
constexpr int kMaxVlanTags = 4;
constexpr uint8_t kProtocolTcp = 6;
constexpr int kMaxExtensionHeaders = 8;
constexpr size_t kIpv4Size = 4;
constexpr size_t kIpv6Size = 16;

// Big-endian numbers and bytes off the front of a packet; after one that is not there all is empty.
class PacketReader {
 public:
  explicit PacketReader(absl::string_view packet) : rest_(packet) {}

  bool ok() const { return ok_; }
  absl::string_view rest() const { return rest_; }
  absl::string_view Bytes(size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const absl::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  uint32_t Uint(size_t size) {
    uint32_t value = 0;
    for (const char byte : Bytes(size)) value = value << 8 | static_cast<uint8_t>(byte);
    return value;
  }
  // Of the rest nothing beyond `size` belongs to the packet, such as Ethernet's padding.
  void CutTo(size_t size) { rest_ = rest_.substr(0, size); }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

// `size` is that of the segment as it was sent.
Unwrapped ReadTcp(PacketReader& reader, size_t size, Endpoint source, Endpoint destination) {
  constexpr size_t kTcpSize = 20;
  TcpSegment segment;
  source.port = static_cast<uint16_t>(reader.Uint(2));
  destination.port = static_cast<uint16_t>(reader.Uint(2));
  segment.sequence = reader.Uint(4);
  reader.Bytes(4);
  const size_t header_size = (reader.Uint(1) >> 4) * 4;
  const uint32_t flags = reader.Uint(1);
  reader.Bytes(6);
  if (!reader.ok() || header_size < kTcpSize || header_size > size) return {};
  segment.payload_size = size - header_size;
  // Of a packet that was cut while it was captured the options may be missing already.
  reader.Bytes(std::min(header_size - kTcpSize, reader.rest().size()));
  segment.payload = reader.rest().substr(0, segment.payload_size);
  segment.fin = (flags & 0x01) != 0;
  segment.syn = (flags & 0x02) != 0;
  segment.rst = (flags & 0x04) != 0;
  segment.ack = (flags & 0x10) != 0;
  segment.source = std::move(source);
  segment.destination = std::move(destination);
  return {Unwrapped::Kind::kTcp, std::move(segment)};
}

Unwrapped ReadIpv4(PacketReader& reader) {
  constexpr size_t kHeaderSize = 20;
  const size_t captured = reader.rest().size();
  const size_t header_size = (reader.Uint(1) & 0x0F) * 4;
  reader.Bytes(1);
  size_t total_size = reader.Uint(2);
  if (total_size == 0) total_size = captured;  // The network card was to fill it in.
  reader.Bytes(2);
  const uint32_t fragment = reader.Uint(2);
  reader.Bytes(1);
  const uint32_t protocol = reader.Uint(1);
  reader.Bytes(2);
  Endpoint source{std::string(reader.Bytes(kIpv4Size)), 0};
  Endpoint destination{std::string(reader.Bytes(kIpv4Size)), 0};
  if (!reader.ok() || header_size < kHeaderSize || total_size < header_size) return {};
  if (protocol != kProtocolTcp) return {};
  constexpr uint32_t kMoreFragments = 0x2000;
  constexpr uint32_t kFragmentOffset = 0x1FFF;
  if ((fragment & (kMoreFragments | kFragmentOffset)) != 0) return {Unwrapped::Kind::kFragment, {}};
  reader.Bytes(header_size - kHeaderSize);
  reader.CutTo(total_size - header_size);
  return ReadTcp(reader, total_size - header_size, std::move(source), std::move(destination));
}

Unwrapped ReadIpv6(PacketReader& reader) {
  constexpr uint32_t kFragmentHeader = 44;
  reader.Bytes(4);
  size_t size = reader.Uint(2);
  uint32_t next = reader.Uint(1);
  reader.Bytes(1);
  Endpoint source{std::string(reader.Bytes(kIpv6Size)), 0};
  Endpoint destination{std::string(reader.Bytes(kIpv6Size)), 0};
  if (!reader.ok()) return {};
  if (size == 0) size = reader.rest().size();
  reader.CutTo(size);
  for (int i = 0; i < kMaxExtensionHeaders && next != kProtocolTcp; ++i) {
    if (next == kFragmentHeader) return {Unwrapped::Kind::kFragment, {}};
    const bool is_known = next == 0 || next == 43 || next == 60;  // Options, routing.
    if (!is_known) return {};
    next = reader.Uint(1);
    const size_t units = reader.Uint(1);
    const size_t extension_size = (units + 1) * 8;
    reader.Bytes(extension_size - 2);
    if (!reader.ok() || extension_size > size) return {};
    size -= extension_size;
  }
  if (next != kProtocolTcp) return {};
  return ReadTcp(reader, size, std::move(source), std::move(destination));
}

Unwrapped ReadIp(PacketReader& reader) {
  if (reader.rest().empty()) return {};
  const int version = static_cast<uint8_t>(reader.rest()[0]) >> 4;
  return version == 4 ? ReadIpv4(reader) : version == 6 ? ReadIpv6(reader) : Unwrapped{};
}

Unwrapped ReadEtherType(PacketReader& reader, uint32_t type) {
  for (int i = 0; i < kMaxVlanTags && (type == kEtherVlan || type == kEtherVlanOfProviders); ++i) {
    reader.Bytes(2);
    type = reader.Uint(2);
  }
  return type == kEtherIpv4 || type == kEtherIpv6 ? ReadIp(reader) : Unwrapped{};
}

}  // namespace

bool IsKnown(int link_type) {
  switch (static_cast<LinkType>(link_type)) {
    case LinkType::kNull:
    case LinkType::kEthernet:
    case LinkType::kRaw:
    case LinkType::kRawInFiles:
    case LinkType::kLoop:
    case LinkType::kLinuxCooked:
    case LinkType::kIpv4:
    case LinkType::kIpv6:
    case LinkType::kLinuxCooked2:
      return true;
  }
  return false;
}

std::string ToText(const Endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "?";
  const bool is_ipv6 = endpoint.address.size() == kIpv6Size;
  ::inet_ntop(is_ipv6 ? AF_INET6 : AF_INET, endpoint.address.data(), text, sizeof(text));
  return is_ipv6 ? absl::StrCat("[", text, "]:", endpoint.port)
                 : absl::StrCat(text, ":", endpoint.port);
}

Unwrapped FindTcp(LinkType link_type, absl::string_view packet) {
  constexpr size_t kEthernetAddresses = 12;
  constexpr size_t kCookedUpToType = 14;
  constexpr size_t kCooked2BehindType = 18;
  PacketReader reader(packet);
  switch (link_type) {
    case LinkType::kNull:
    case LinkType::kLoop:
      reader.Bytes(4);  // The address family, which each system counts in its own way.
      return ReadIp(reader);
    case LinkType::kEthernet:
      reader.Bytes(kEthernetAddresses);
      return ReadEtherType(reader, reader.Uint(2));
    case LinkType::kLinuxCooked:
      reader.Bytes(kCookedUpToType);
      return ReadEtherType(reader, reader.Uint(2));
    case LinkType::kLinuxCooked2: {
      const uint32_t type = reader.Uint(2);
      reader.Bytes(kCooked2BehindType);
      return ReadEtherType(reader, type);
    }
    case LinkType::kRaw:
    case LinkType::kRawInFiles:
    case LinkType::kIpv4:
    case LinkType::kIpv6:
      return ReadIp(reader);
  }
  return {};
}

}  // namespace backup::capture
