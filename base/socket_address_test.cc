#include "base/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>
#include <utility>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::StatusIs;

constexpr int kDefaultPort = 1357;

TEST(ParseHostAndPort, UnderstandsEverySpelling) {
  for (const auto& [text, written] : std::initializer_list<std::pair<const char*, const char*>>{
           {"localhost:0", "localhost:0"},
           {"127.0.0.1:80", "127.0.0.1:80"},
           {"[::1]:65535", "[::1]:65535"},
           {"[0:0::1]:5", "[::1]:5"},
           {"[::]:5", "[::]:5"},
           {"[::ffff:1.2.3.4]:5", "1.2.3.4:5"},
           {"[fe80::1%eth0]:5", "[fe80::1%eth0]:5"},
           {"*:80", "*:80"},
           {":80", "*:80"},
           {"tcp://host:80", "host:80"},
           {"tcp://[::1]:80/", "[::1]:80"}}) {
    for (const std::optional<int> port : {std::optional<int>(), std::optional<int>(kDefaultPort)}) {
      const auto parts = ParseHostAndPort(text, port);
      ASSERT_OK(parts);
      EXPECT_EQ(AddressText(*parts), written);
    }
  }
}

TEST(ParseHostAndPort, TakesTheDefaultPortForANumberOrAsteriskAlone) {
  for (const auto& [text, written] :
       std::initializer_list<std::pair<const char*, const char*>>{{"::1", "[::1]:1357"},
                                                                  {"[::1]", "[::1]:1357"},
                                                                  {"[::]", "[::]:1357"},
                                                                  {"::", "[::]:1357"},
                                                                  {"*", "*:1357"},
                                                                  {"127.0.0.1", "127.0.0.1:1357"},
                                                                  {"tcp://::1", "[::1]:1357"}}) {
    EXPECT_THAT(ParseHostAndPort(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    const auto parts = ParseHostAndPort(text, kDefaultPort);
    ASSERT_OK(parts);
    EXPECT_EQ(AddressText(*parts), written);
  }
}

TEST(ParseHostAndPort, RefusesWhatIsNoAddress) {
  for (const char* bad : {"", "localhost", "localhost:", "localhost:65536", "localhost:-1",
                          "localhost:http", "::1:50051", "[::1]x:5", "[localhost]:5x", "::g:5"}) {
    EXPECT_THAT(ParseHostAndPort(bad, kDefaultPort), StatusIs(absl::StatusCode::kInvalidArgument))
        << bad;
  }
}

TEST(AddressText, ShowsIpv4AsSuchOnASocketOfBoth) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(7);
  const auto text = [&] {
    return AddressText(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  };
  ASSERT_EQ(::inet_pton(AF_INET6, "::ffff:10.1.2.3", &address.sin6_addr), 1);
  EXPECT_EQ(text(), "10.1.2.3:7");
  ASSERT_EQ(::inet_pton(AF_INET6, "2001:db8::5", &address.sin6_addr), 1);
  EXPECT_EQ(text(), "[2001:db8::5]:7");
}

TEST(IsLoopback, BelievesOnlyWhatCannotLeadElsewhere) {
  for (const char* local :
       {"localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "0:0::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IsLoopback(local)) << local;
  }
  for (const char* remote : {"", "*", "0.0.0.0", "::", "127.example.com", "10.0.0.1", "::2"})
    EXPECT_FALSE(IsLoopback(remote)) << remote;
}

TEST(AddressPrefixes, MeanAHostAHostAndPortOrABeginning) {
  for (const auto& [text, prefix] : std::initializer_list<std::pair<const char*, const char*>>{
           {"", ""},
           {"*", ""},
           {"::", ""},
           {"[::]", ""},
           {"0.0.0.0", ""},
           {"10.1.2.3", "10.1.2.3:"},
           {"10.1.2.3:", "10.1.2.3:"},
           {"::ffff:10.1.2.3", "10.1.2.3:"},
           {"tcp://10.1.2.3:5", "10.1.2.3:5"},
           {"10.1.", "10.1."},
           {"fe80:", "[fe80:"},
           {"::1", "[::1]:"},
           {"[0::1]:1357", "[::1]:1357"}}) {
    const auto prefixes = AddressPrefixes(text);
    ASSERT_OK(prefixes);
    EXPECT_THAT(*prefixes, ::testing::ElementsAre(prefix)) << text;
  }
}

TEST(AddressPrefixes, AreThoseOfAllAddressesOfAName) {
  const auto any_port = AddressPrefixes("localhost");
  ASSERT_OK(any_port);
  EXPECT_THAT(*any_port, ::testing::Contains("127.0.0.1:"));
  const auto one_port = AddressPrefixes("tcp://localhost:5");
  ASSERT_OK(one_port);
  EXPECT_THAT(*one_port, ::testing::Contains("127.0.0.1:5"));
  for (const char* none : {"no-such-host.invalid", "*:5", "[::]:5"})
    EXPECT_THAT(AddressPrefixes(none), StatusIs(absl::StatusCode::kInvalidArgument)) << none;
}

}  // namespace
}  // namespace backup
