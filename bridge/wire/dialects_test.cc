#include "bridge/wire/dialects.h"

#include "bridge/wire/byte_writer.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

RequestHeader HeaderWithCode(uint16_t code) { return {ClientId(), 3, code, 255}; }

// The record layer's five bytes, then the type of the handshake message.
constexpr char kClientHello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

TEST(DecodeHeader, NeedsAll23Bytes) {
  const std::string bytes =
      ByteWriter().Bytes("0123456789abcdef").U8(1).U16(1028).U32(0x01020304).Take();
  ASSERT_EQ(bytes.size(), kRequestHeaderSize);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeHeader(bytes.substr(0, size)).has_value()) << size;
  }
  for (const std::string more : {"", "more"}) {
    const std::optional<RequestHeader> header = DecodeHeader(bytes + more);
    ASSERT_TRUE(header.has_value());
    EXPECT_EQ(header->client_id.bytes(), "0123456789abcdef");
    EXPECT_EQ(header->version, 1);
    EXPECT_EQ(header->code, 1028);
    EXPECT_EQ(header->payload_size, 0x01020304u);
  }
}

std::vector<absl::string_view> NamesFor(uint16_t code, uint8_t version) {
  std::vector<absl::string_view> names;
  for (const Dialect* dialect : FindDialects({ClientId(), version, code, 255})) {
    names.push_back(dialect->name());
  }
  return names;
}

TEST(FindDialects, FindsEachFamilyByItsCodes) {
  using Names = std::vector<absl::string_view>;
  for (uint16_t code = 1100; code <= 1106; ++code) EXPECT_EQ(NamesFor(code, 3), Names{"A/B"});
  for (const uint16_t code : {825, 826, 827, 828, 900, 901, 902})
    EXPECT_EQ(NamesFor(code, 3), Names{"E"});
  for (uint16_t code = 1025; code <= 1031; ++code) {
    EXPECT_EQ(NamesFor(code, 3), (Names{"C", "D"}));
    EXPECT_EQ(NamesFor(code, 1), Names{"C"});
  }
}

TEST(FindDialects, FindsNoneForACodeThatNobodySpeaks) {
  for (const uint16_t code : {0, 824, 829, 899, 903, 1024, 1032, 1099, 1107, 2100, 0xFFFF}) {
    EXPECT_TRUE(FindDialects(HeaderWithCode(code)).empty()) << code;
  }
}

TEST(FindDialectByName, FindsEachThatThereIs) {
  for (const char* name : {"A/B", "C", "D", "E"}) EXPECT_EQ(FindDialectByName(name)->name(), name);
  EXPECT_EQ(FindDialectByName("F"), nullptr);
}

TEST(DefaultDialect, IsFamilyC) { EXPECT_EQ(DefaultDialect().name(), "C"); }

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
