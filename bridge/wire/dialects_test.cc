#include "bridge/wire/dialects.h"

#include "bridge/wire/testing/request_bytes.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

// The record layer's five bytes, then the type of the handshake message.
constexpr char kClientHello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

DialectSet Set(const DialectSet::Options& options = {}) { return *DialectSet::Make({}, options); }

std::vector<absl::string_view> NamesOf(const DialectSet& set, DialectMask mask) {
  std::vector<absl::string_view> names;
  for (const Dialect& dialect : set.dialects()) {
    if ((mask & set.MaskOf(dialect)) != 0) names.push_back(dialect.name());
  }
  return names;
}

std::string Header(uint16_t code, uint8_t version = 3) {
  return RequestBytes({*ClientId::FromBytes("0123456789abcdef"), version, code, 255}, "");
}

std::vector<absl::string_view> NamesFor(uint16_t code, uint8_t version = 3) {
  const DialectSet set = Set();
  return NamesOf(set, set.FindCandidates(Header(code, version), set.all()).claiming);
}

using Names = std::vector<absl::string_view>;

TEST(DialectSet, FindsThoseThatClaimARequest) {
  for (const uint16_t code : {1100, 1101, 1102, 1104, 1105, 1106}) {
    EXPECT_EQ(NamesFor(code), Names{"A/B"});
    EXPECT_EQ(NamesFor(code, 2), (Names{"A/B", "a2"}));
  }
  EXPECT_EQ(NamesFor(1103, 2), Names{"A/B"});
  for (const uint16_t code : {825, 826, 827, 828, 900, 901, 902})
    EXPECT_EQ(NamesFor(code), Names{"E"});
  for (uint16_t code = 1025; code <= 1031; ++code) {
    EXPECT_EQ(NamesFor(code), (Names{"C", "D"}));
    EXPECT_EQ(NamesFor(code, 1), Names{"C"});
  }
  for (const uint16_t code : {0, 824, 829, 899, 903, 1024, 1032, 1099, 1107, 2100, 0xFFFF})
    EXPECT_EQ(NamesFor(code), Names{}) << code;
}

TEST(DialectSet, NeedsAWholeHeaderOfEachThatMayClaimIt) {
  const DialectSet set = Set();
  const std::string header = Header(1100);
  for (size_t size = 0; size < header.size(); ++size) {
    const auto found = set.FindCandidates(header.substr(0, size), set.all());
    EXPECT_EQ(found.claiming, 0u) << size;
    if (size <= ClientId::kSize) {
      EXPECT_EQ(found.need_more, set.all()) << size;
    }
    EXPECT_NE(found.need_more & set.MaskOf(*set.FindByName("A/B")), 0u) << size;
  }
  const auto found = set.FindCandidates(header, set.all());
  EXPECT_EQ(found.need_more, 0u);  // The header of b3 has a byte more, but its code is another.
}

TEST(DialectSet, LooksOnlyAmongThoseThatItIsAskedFor) {
  const DialectSet set = Set();
  const DialectMask d = set.MaskOf(*set.FindByName("D"));
  EXPECT_EQ(set.FindCandidates(Header(1025), d).claiming, d);
  EXPECT_EQ(set.FindCandidates(Header(1100), d).claiming, 0u);
}

TEST(DialectSet, FindsEachByItsNameAndItsLabels) {
  const DialectSet set = Set();
  for (const char* name : {"A/B", "C", "D", "E", "a2", "b3", "e3"})
    EXPECT_EQ(set.FindByName(name)->name(), name);
  EXPECT_EQ(set.FindByName("A")->name(), "A/B");
  EXPECT_EQ(set.FindByName("B")->name(), "A/B");
  EXPECT_EQ(set.FindByName("F"), nullptr);
  EXPECT_EQ(set.default_dialect().name(), "C");
}

std::string Preferred(const DialectSet::Options& options, const Names& names) {
  const DialectSet set = Set(options);
  DialectMask mask = 0;
  for (const absl::string_view name : names) mask |= set.MaskOf(*set.FindByName(name));
  return std::string(set.Prefer(mask).name());
}

TEST(DialectSet, PrefersByPortOrAsItIsTold) {
  EXPECT_EQ(Preferred({.port = 1357}, {"C", "D"}), "C");
  EXPECT_EQ(Preferred({.port = 1256}, {"C", "D"}), "D");
  EXPECT_EQ(Preferred({.port = 1357, .preferred = "D"}, {"C", "D"}), "D");
  EXPECT_EQ(Preferred({.port = 1256, .preferred = "C"}, {"C", "D"}), "C");
  EXPECT_EQ(Preferred({.port = 1256}, {"A/B", "a2"}), "A/B");
  EXPECT_EQ(Preferred({.port = 1256, .preferred = "C"}, {"a2"}), "a2");
}

TEST(DetectForeignProtocol, KnowsHttp2ByItsPreface) {
  EXPECT_EQ(DetectForeignProtocol("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP/2");
}

TEST(DetectForeignProtocol, KnowsHttp1ByItsMethods) {
  for (const std::string method :
       {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE"}) {
    EXPECT_EQ(DetectForeignProtocol(method + " / HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1") << method;
  }
}

TEST(DetectForeignProtocol, KnowsTlsByItsClientHello) {
  EXPECT_EQ(DetectForeignProtocol({kClientHello, sizeof(kClientHello) - 1}), "TLS");
}

TEST(DetectForeignProtocol, DoesNotTakeAnIdThatBeginsLikeATlsRecordForOne) {
  EXPECT_EQ(DetectForeignProtocol("\x16\x03\x51\x52\x53\x54\x55\x56"), "");
}

TEST(DetectForeignProtocol, KnowsNothingFromTooFewBytesOrOurOwn) {
  EXPECT_EQ(DetectForeignProtocol(""), "");
  EXPECT_EQ(DetectForeignProtocol("GET"), "");
  EXPECT_EQ(DetectForeignProtocol("GETTING"), "");
  EXPECT_EQ(DetectForeignProtocol("\x16\x03"), "");
  EXPECT_EQ(DetectForeignProtocol(std::string(kRequestHeaderSize, '\0')), "");
  EXPECT_EQ(DetectForeignProtocol(std::string(kRequestHeaderSize, '\xAA')), "");
}

}  // namespace
}  // namespace backup::wire
