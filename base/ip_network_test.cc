#include "base/ip_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::HasSubstr;

IpAddress Address(absl::string_view text) {
  const std::optional<IpAddress> address = IpAddress::Parse(text);
  EXPECT_TRUE(address) << text;
  return address.value_or(IpAddress());
}

bool IsIn(absl::string_view networks, absl::string_view address) {
  const absl::StatusOr<IpNetworks> parsed = IpNetworks::Parse(networks);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() && parsed->Contains(Address(address));
}

std::string Fault(absl::string_view networks) {
  return std::string(IpNetworks::Parse(networks).status().message());
}

TEST(IpAddress, IsANumberOfEitherFamily) {
  EXPECT_EQ(Address("1.2.3.4").text(), "1.2.3.4");
  EXPECT_EQ(Address("2001:DB8:0::1").text(), "2001:db8::1");
  EXPECT_EQ(Address("::"), IpAddress());
  for (const char* wrong :
       {"", "1.2.3", "1.2.3.256", "host", "[::1]", "::1%lo", "1.2.3.4:5", "1::2::3"})
    EXPECT_FALSE(IpAddress::Parse(wrong)) << wrong;
  EXPECT_FALSE(IpAddress::Parse(absl::string_view("1.2.3.4\0x", 9)));
}

TEST(IpAddress, Ipv4WithinIpv6IsIpv4) {
  EXPECT_EQ(Address("::ffff:1.2.3.4"), Address("1.2.3.4"));
  EXPECT_EQ(Address("::ffff:1.2.3.4").text(), "1.2.3.4");
  EXPECT_TRUE(Address("::ffff:1.2.3.4").is_ipv4());
  EXPECT_FALSE(Address("::1.2.3.4").is_ipv4());
  EXPECT_EQ(IpAddress::FromBytes(absl::string_view("\1\2\3\4", 4)), Address("1.2.3.4"));
  EXPECT_FALSE(IpAddress::FromBytes("12345"));
}

TEST(IpAddress, IsThatOfASocket) {
  sockaddr_in in = {};
  in.sin_family = AF_INET;
  ::inet_pton(AF_INET, "1.2.3.4", &in.sin_addr);
  EXPECT_EQ(IpAddress::FromSocket(reinterpret_cast<const sockaddr*>(&in)), Address("1.2.3.4"));
  sockaddr_in6 in6 = {};
  in6.sin6_family = AF_INET6;
  ::inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr);
  EXPECT_EQ(IpAddress::FromSocket(reinterpret_cast<const sockaddr*>(&in6)), Address("1.2.3.4"));
  sockaddr local = {};
  local.sa_family = AF_UNIX;
  EXPECT_EQ(IpAddress::FromSocket(&local), IpAddress());
}

TEST(IpAddress, IsMaskedAtAnyBit) {
  const IpAddress all = Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  EXPECT_EQ(all.Masked(0), Address("::"));
  EXPECT_EQ(all.Masked(1), Address("8000::"));
  EXPECT_EQ(all.Masked(64), Address("ffff:ffff:ffff:ffff::"));
  EXPECT_EQ(all.Masked(127), Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"));
  EXPECT_EQ(all.Masked(128), all);
}

TEST(IpNetworks, WhatIsNoneIsToldInOneShortLine) {
  const std::string message(
      IpNetworks::Parse("x\nI2026 forged" + std::string(1'000'000, 'y')).status().message());
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 200u);
}

TEST(IpNetworks, ContainTheHostsThatBeginLikeThem) {
  EXPECT_TRUE(IsIn("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(IsIn("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(IsIn("192.168.1.128/25", "192.168.1.128"));
  EXPECT_FALSE(IsIn("192.168.1.128/25", "192.168.1.127"));
  EXPECT_TRUE(IsIn("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(IsIn("2001:db8::/33", "2001:db8:8000::1"));
}

TEST(IpNetworks, ANumberAloneIsOneHost) {
  EXPECT_TRUE(IsIn("1.2.3.4", "1.2.3.4"));
  EXPECT_FALSE(IsIn("1.2.3.4", "1.2.3.5"));
  EXPECT_TRUE(IsIn("::1", "::1"));
  EXPECT_FALSE(IsIn("::1", "::2"));
}

TEST(IpNetworks, EachFamilyHasItsOwn) {
  EXPECT_TRUE(IsIn("0.0.0.0/0", "::ffff:1.2.3.4"));
  EXPECT_FALSE(IsIn("0.0.0.0/0", "::1"));
  EXPECT_TRUE(IsIn("::/0", "fe80::1"));
  EXPECT_FALSE(IsIn("::/0", "1.2.3.4"));
  EXPECT_TRUE(IsIn("::ffff:10.0.0.0/104", "10.1.2.3"));
}

TEST(IpNetworks, AreAListOrNone) {
  EXPECT_TRUE(IsIn(" 10.0.0.0/8 , ::1 ,", "::1"));
  EXPECT_FALSE(IsIn("10.0.0.0/8,::1", "::2"));
  EXPECT_FALSE(IsIn("", "1.2.3.4"));
  for (const char* none : {"", " "}) EXPECT_TRUE(IpNetworks::Parse(none)->empty()) << none;
  EXPECT_FALSE(IpNetworks::Parse("::1")->empty());
}

TEST(IpNetwork, IsWrittenAsShortAsCanBe) {
  for (const char* text : {"10.0.0.0/8", "1.2.3.4", "2001:db8::/32", "::/0", "0.0.0.0/0", "::1"})
    EXPECT_EQ(IpNetwork::Parse(text)->text(), text);
  EXPECT_EQ(IpNetwork::Parse("1.2.3.4/32")->text(), "1.2.3.4");
  EXPECT_EQ(IpNetwork::Parse("::ffff:10.0.0.0/104")->text(), "10.0.0.0/8");
  EXPECT_EQ(IpNetwork(Address("2001:db8::7"), 64).text(), "2001:db8::/64");
  EXPECT_EQ(IpNetwork::Parse("10.0.0.0/8")->family_bits(), 8);
  EXPECT_EQ(IpNetwork::Parse("::1")->family_bits(), 128);
}

TEST(IpNetwork, OverlapsWhatIsWithinItAndWhatItIsIn) {
  const auto overlap = [](absl::string_view one, absl::string_view other) {
    const IpNetwork first = *IpNetwork::Parse(one);
    const IpNetwork second = *IpNetwork::Parse(other);
    EXPECT_EQ(first.Overlaps(second), second.Overlaps(first));
    return first.Overlaps(second);
  };
  EXPECT_TRUE(overlap("10.0.0.0/8", "10.7.0.0/16"));
  EXPECT_TRUE(overlap("10.7.0.1", "10.7.0.1"));
  EXPECT_FALSE(overlap("10.0.0.0/8", "11.0.0.0/8"));
  EXPECT_FALSE(overlap("::/0", "10.0.0.0/8"));
  IpNetworks networks = *IpNetworks::Parse("10.0.0.0/8");
  networks.Add(*IpNetworks::Parse("::1"));
  EXPECT_TRUE(networks.Overlap(*IpNetwork::Parse("::/1")));
  EXPECT_TRUE(networks.Contains(Address("::1")));
  EXPECT_FALSE(networks.Overlap(*IpNetwork::Parse("2001:db8::/32")));
}

TEST(IpNetworks, WhatIsWrongIsNamed) {
  for (const char* wrong : {"host", "10.0.0/8", "/8", "[::1]", "10.0.0.0-10.0.0.9", "fe80::1%lo"})
    EXPECT_THAT(Fault(wrong), HasSubstr("NUMBER/BITS")) << wrong;
  EXPECT_THAT(Fault("::1,10.0.0.0/33"),
              HasSubstr("\"10.0.0.0/33\" is no network: it has 0 to 32 bits"));
  EXPECT_THAT(Fault("::/129"), HasSubstr("0 to 128 bits"));
  for (const char* wrong : {"1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/x", "1.2.3.0/24/8"})
    EXPECT_THAT(Fault(wrong), HasSubstr("0 to 32 bits")) << wrong;
  EXPECT_THAT(Fault("10.1.0.0/8"), HasSubstr("that would be 10.0.0.0/8"));
  EXPECT_THAT(Fault("2001:db8::1/32"), HasSubstr("that would be 2001:db8::/32"));
  EXPECT_THAT(Fault("::ffff:10.1.0.0/104"), HasSubstr("that would be 10.0.0.0/8"));
  EXPECT_THAT(Fault("::ffff:0.0.0.0/90"), HasSubstr("that would be ::ffc0:0:0/90"));
  for (const char* nothing : {",", " , ", ",,"})
    EXPECT_THAT(Fault(nothing), HasSubstr("commas alone")) << nothing;
}

}  // namespace
}  // namespace backup
