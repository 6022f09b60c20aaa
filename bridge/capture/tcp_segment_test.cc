#include "bridge/capture/tcp_segment.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace backup::capture {
namespace {

std::string Big16(size_t value) {
  return {static_cast<char>(value >> 8 & 0xFF), static_cast<char>(value & 0xFF)};
}

std::string Tcp(const std::string& payload) {
  return absl::StrCat(Big16(40000), Big16(1357), std::string("\x01\x02\x03\x04\0\0\0\0", 8),
                      std::string("\x60\x18\xFF\xFF\0\0\0\0", 8), "\x01\x01\x01\x01", payload);
}
std::string Ipv4(const std::string& tcp, const std::string& fragment = std::string(2, '\0')) {
  return absl::StrCat(std::string("\x45\0", 2), Big16(20 + tcp.size()), std::string(2, '\0'),
                      fragment, "\x40\x06", std::string(2, '\0'),
                      "\x7F\x01\x01\x01\x7F\x01\x01\x02", tcp);
}
std::string Ipv6(const std::string& tcp, bool with_options) {
  const std::string options = with_options ? std::string("\x06\0\x01\x04\0\0\0\0", 8) : "";
  std::string address(16, '\0');
  address[15] = 1;
  return absl::StrCat(std::string("\x60\0\0\0", 4), Big16(options.size() + tcp.size()),
                      with_options ? std::string(1, '\0') : "\x06", "\x40", address, address,
                      options, tcp);
}

void ExpectFound(LinkType type, const std::string& packet, const std::string& destination) {
  const Unwrapped found = FindTcp(type, packet);
  ASSERT_EQ(found.kind, Unwrapped::Kind::kTcp) << static_cast<int>(type);
  EXPECT_EQ(found.segment.payload, "payload");
  EXPECT_EQ(found.segment.payload_size, 7u);
  EXPECT_EQ(found.segment.sequence, 0x01020304u);
  EXPECT_TRUE(found.segment.ack);
  EXPECT_FALSE(found.segment.syn);
  EXPECT_EQ(ToText(found.segment.destination), destination);
}

TEST(TcpSegmentTest, IsFoundBehindEachLinkType) {
  const std::string ip = Ipv4(Tcp("payload"));
  const std::string addresses(12, 'm');
  const std::string trailer(6, 't');  // Ethernet fills short frames up.
  const std::string four = "127.1.1.2:1357";
  ExpectFound(LinkType::kEthernet, addresses + std::string("\x08\0", 2) + ip + trailer, four);
  ExpectFound(LinkType::kEthernet, addresses + std::string("\x81\0\0\x05\x08\0", 6) + ip, four);
  ExpectFound(LinkType::kEthernet,
              addresses + std::string("\x88\xA8\0\x05\x81\0\0\x06\x08\0", 10) + ip, four);
  ExpectFound(LinkType::kLinuxCooked, std::string(14, 'c') + std::string("\x08\0", 2) + ip, four);
  ExpectFound(LinkType::kLinuxCooked2, std::string("\x08\0", 2) + std::string(18, 'c') + ip, four);
  ExpectFound(LinkType::kNull, std::string("\x02\0\0\0", 4) + ip, four);
  ExpectFound(LinkType::kLoop, std::string("\0\0\0\x02", 4) + ip, four);
  for (const LinkType type : {LinkType::kRaw, LinkType::kRawInFiles, LinkType::kIpv4})
    ExpectFound(type, ip, four);
  ExpectFound(LinkType::kRaw, Ipv6(Tcp("payload"), false), "[::1]:1357");
  ExpectFound(LinkType::kIpv6, Ipv6(Tcp("payload"), true), "[::1]:1357");
}

TEST(TcpSegmentTest, OtherPacketsAreNone) {
  EXPECT_EQ(FindTcp(LinkType::kRaw, Ipv4(Tcp("payload"), std::string("\x20\0", 2))).kind,
            Unwrapped::Kind::kFragment);
  std::string udp = Ipv4(Tcp("payload"));
  udp[9] = 17;
  EXPECT_EQ(FindTcp(LinkType::kRaw, udp).kind, Unwrapped::Kind::kOther);
  EXPECT_EQ(FindTcp(LinkType::kRaw, "").kind, Unwrapped::Kind::kOther);
  EXPECT_EQ(FindTcp(LinkType::kEthernet, std::string(12, 'm') + "\x08\x06" + "arp").kind,
            Unwrapped::Kind::kOther);
}

TEST(TcpSegmentTest, WhatWasCutKeepsItsSize) {
  const std::string ip = Ipv4(Tcp("payload"));
  const Unwrapped found = FindTcp(LinkType::kRaw, absl::string_view(ip).substr(0, ip.size() - 4));
  ASSERT_EQ(found.kind, Unwrapped::Kind::kTcp);
  EXPECT_EQ(found.segment.payload, "pay");
  EXPECT_EQ(found.segment.payload_size, 7u);
}

TEST(TcpSegmentTest, AnyBytesAreTaken) {
  std::mt19937 random(16);  // NOLINT: the same each time.
  for (int i = 0; i < 100'000; ++i) {
    std::string packet = random() % 2 == 0 ? Ipv4(Tcp("payload")) : Ipv6(Tcp("payload"), true);
    for (size_t changes = random() % 6; changes > 0; --changes)
      packet[random() % packet.size()] = static_cast<char>(random());
    packet.resize(random() % (packet.size() + 1));
    const Unwrapped found = FindTcp(LinkType::kRaw, packet);
    ASSERT_LE(found.segment.payload.size(), packet.size());
    ASSERT_LE(found.segment.payload.size(), found.segment.payload_size);
  }
}

}  // namespace
}  // namespace backup::capture
