#include "bridge/net/proxy_header.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::testing::HasSubstr;

constexpr absl::string_view kFollowing = "of the connection itself";

std::string Binary(absl::string_view command_and_family, absl::string_view body) {
  std::string size = {static_cast<char>(body.size() >> 8), static_cast<char>(body.size())};
  return absl::StrCat(absl::string_view("\r\n\r\n\0\r\nQUIT\n", 12),
                      *HexToBytes(command_and_family), size, body);
}

// 10.1.2.3:4660 to 10.0.0.1:80.
std::string Tcp4Body() { return *HexToBytes("0a0102030a00000112340050"); }
// [2001:db8::7]:4660 to [2001:db8::1]:80.
std::string Tcp6Body() {
  return *HexToBytes("20010db800000000000000000000000720010db800000000000000000000000112340050");
}
// One of type NOOP, and one that is nobody's, cut off.
std::string SomeTlvs() { return *HexToBytes("0400020000ee00ff00"); }

// Each whole header that is right.
std::vector<std::string> GoodHeaders() {
  return {"PROXY TCP4 10.1.2.3 10.0.0.1 4660 80\r\n",
          "PROXY TCP6 2001:db8::7 2001:db8::1 4660 80\r\n",
          "PROXY UNKNOWN\r\n",
          Binary("2111", Tcp4Body()),
          Binary("2111", Tcp4Body() + SomeTlvs()),
          Binary("2121", Tcp6Body() + SomeTlvs()),
          Binary("2100", SomeTlvs()),
          Binary("2000", "")};
}

absl::StatusOr<std::optional<ProxyHeader>> Decode(absl::string_view header) {
  return DecodeProxyHeader(absl::StrCat(header, kFollowing));
}

// The client that a whole, right header tells.
std::string ClientOf(absl::string_view header) {
  const auto decoded = Decode(header);
  EXPECT_TRUE(decoded.ok() && decoded->has_value()) << decoded.status();
  if (!decoded.ok() || !decoded->has_value()) return "";
  EXPECT_EQ((*decoded)->size, header.size());
  const auto& client = (*decoded)->client;
  return client ? absl::StrCat(client->address.text(), " ", client->port) : "own";
}

std::string Fault(absl::string_view header) {
  return std::string(Decode(header).status().message());
}

TEST(ProxyHeader, TellsTheClientOfALine) {
  EXPECT_EQ(ClientOf("PROXY TCP4 10.1.2.3 10.0.0.1 4660 80\r\n"), "10.1.2.3 4660");
  EXPECT_EQ(ClientOf("PROXY TCP6 2001:db8::7 ::1 65535 0\r\n"), "2001:db8::7 65535");
  EXPECT_EQ(ClientOf("PROXY TCP6 ::ffff:10.1.2.3 ::1 1 1\r\n"), "10.1.2.3 1");
}

TEST(ProxyHeader, TellsTheClientOfVersion2) {
  EXPECT_EQ(ClientOf(Binary("2111", Tcp4Body())), "10.1.2.3 4660");
  EXPECT_EQ(ClientOf(Binary("2121", Tcp6Body())), "2001:db8::7 4660");
}

TEST(ProxyHeader, SkipsWhatStandsBehindTheAddresses) {
  EXPECT_EQ(ClientOf(Binary("2111", Tcp4Body() + SomeTlvs())), "10.1.2.3 4660");
  const std::string most(kMaxProxyBodySize - Tcp6Body().size(), 'x');
  EXPECT_EQ(ClientOf(Binary("2121", Tcp6Body() + most)), "2001:db8::7 4660");
}

TEST(ProxyHeader, TheBalancersOwnConnectionHasNoClient) {
  EXPECT_EQ(ClientOf("PROXY UNKNOWN\r\n"), "own");
  EXPECT_EQ(ClientOf("PROXY UNKNOWN whatever it says\r\n"), "own");
  EXPECT_EQ(ClientOf(Binary("2100", "")), "own");
  EXPECT_EQ(ClientOf(Binary("2100", SomeTlvs())), "own");
  EXPECT_EQ(ClientOf(Binary("2000", "")), "own");
  EXPECT_EQ(ClientOf(Binary("2011", Tcp4Body())), "own");
  EXPECT_EQ(ClientOf(Binary("20ff", "x")), "own");
}

TEST(ProxyHeader, NoPrefixIsAHeaderOrAFault) {
  for (const std::string& header : GoodHeaders()) {
    for (size_t size = 0; size < header.size(); ++size) {
      const auto decoded = DecodeProxyHeader(absl::string_view(header).substr(0, size));
      ASSERT_TRUE(decoded.ok()) << header << " " << size << " " << decoded.status();
      EXPECT_FALSE(decoded->has_value()) << header << " " << size;
    }
    EXPECT_TRUE((*Decode(header)).has_value());
  }
}

// Whatever one byte is: an answer that further bytes do not change.
TEST(ProxyHeader, AnyByteMayBeWrong) {
  for (const std::string& header : GoodHeaders()) {
    for (size_t at = 0; at < header.size(); ++at) {
      for (int flip = 1; flip < 256; ++flip) {
        std::string changed = absl::StrCat(header, kFollowing);
        changed[at] = static_cast<char>(changed[at] ^ flip);
        const auto whole = DecodeProxyHeader(changed);
        if (!whole.ok() || !whole->has_value()) continue;
        EXPECT_LE((*whole)->size, changed.size());
        const auto exact = DecodeProxyHeader(absl::string_view(changed).substr(0, (*whole)->size));
        ASSERT_TRUE(exact.ok() && exact->has_value());
        EXPECT_EQ((*exact)->client, (*whole)->client);
        EXPECT_EQ((*exact)->size, (*whole)->size);
      }
    }
  }
}

// Nothing of what names version, command or family can be another.
TEST(ProxyHeader, AWrongSignatureIsToldAtOnce) {
  for (const std::string& header : {GoodHeaders()[0], GoodHeaders()[3]}) {
    const size_t fixed = header[0] == 'P' ? 6 : 13;
    for (size_t at = 0; at < fixed; ++at) {
      std::string changed = header.substr(0, at + 1);
      changed[at] = static_cast<char>(changed[at] ^ 0x40);
      EXPECT_FALSE(DecodeProxyHeader(changed).ok()) << at;
    }
  }
}

TEST(ProxyHeader, OtherBytesAreNone) {
  for (const char* other : {"GET / HTTP/1.1\r\n", "x", "proxy TCP4", "PROXY\r\n", "\r\n\r\nGET"})
    EXPECT_THAT(Fault(other), HasSubstr("begins with other bytes")) << other;
}

TEST(ProxyHeader, ALineMustBeWhole) {
  for (const char* line :
       {"PROXY \r\n", "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", "PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n"})
    EXPECT_THAT(Fault(line), HasSubstr("not about TCP4")) << line;
  for (const char* line :
       {"PROXY TCP4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n"})
    EXPECT_THAT(Fault(line), HasSubstr("two addresses and two ports")) << line;
  for (const char* line :
       {"PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n", "PROXY TCP4 1.2.3.4 host 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n", "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 -1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4  1\r\n"})
    EXPECT_THAT(Fault(line), HasSubstr("an address or a port is none")) << line;
}

TEST(ProxyHeader, ALineHasItsLength) {
  const std::string room(kMaxProxyLineSize - 16, 'x');
  EXPECT_EQ(ClientOf(absl::StrCat("PROXY UNKNOWN ", room, "\r\n")), "own");
  EXPECT_THAT(Fault(absl::StrCat("PROXY UNKNOWN ", room, "x\r\n")), HasSubstr("too long"));
  EXPECT_THAT(Fault(absl::StrCat("PROXY UNKNOWN ", room, "xyz")), HasSubstr("too long"));
}

TEST(ProxyHeader, Version2MustBeWhole) {
  EXPECT_THAT(Fault(Binary("1111", Tcp4Body())), HasSubstr("another version"));
  EXPECT_THAT(Fault(Binary("2211", Tcp4Body())), HasSubstr("neither LOCAL nor PROXY"));
  for (const char* family : {"2112", "2122", "2131", "2132", "2101", "21ff"})
    EXPECT_THAT(Fault(Binary(family, Tcp6Body())), HasSubstr("not about TCP")) << family;
  EXPECT_THAT(Fault(Binary("2111", Tcp4Body().substr(1))), HasSubstr("ends in its addresses"));
  EXPECT_THAT(Fault(Binary("2121", Tcp4Body())), HasSubstr("ends in its addresses"));
  const std::string too_long(kMaxProxyBodySize + 1, 'x');
  EXPECT_THAT(Fault(Binary("2111", too_long)), HasSubstr("too long"));
  EXPECT_THAT(Fault(Binary("2000", too_long)), HasSubstr("too long"));
}

}  // namespace
}  // namespace backup::bridge
