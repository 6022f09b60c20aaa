// What a description can say that the built-in dialects do not.

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/testing/byte_writer.h"
#include "bridge/wire/testing/unusual_dialects.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

constexpr absl::string_view kIdBytes = "0123456789abcdef";
ClientId Id() { return *ClientId::FromBytes(kIdBytes); }

std::string BigEndian(uint64_t value, int width) {
  std::string bytes;
  for (int i = width - 1; i >= 0; --i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}
std::string LittleEndian(uint64_t value, int width) {
  std::string bytes = BigEndian(value, width);
  return {bytes.rbegin(), bytes.rend()};
}
std::string Filled(absl::string_view bytes, size_t width, char fill = '\0') {
  std::string field(bytes);
  field.resize(width, fill);
  return field;
}

// A request of kTextDialect.
std::string TextRequest(uint32_t code, const std::string& payload) {
  return absl::StrCat("\xCC\xBA", std::string("\x07"), BigEndian(code, 4),
                      absl::BytesToHexString(kIdBytes), "???", LittleEndian(payload.size() + 50, 8),
                      payload);
}

template <typename Operation>
Operation As(const absl::StatusOr<std::optional<DecodedHead>>& decoded) {
  EXPECT_OK(decoded);
  return std::get<Operation>(decoded.value().value().request.operation);
}

class TextDialect : public ::testing::Test {
 protected:
  const Dialect dialect_ = Parsed(kTextDialect);
};

TEST_F(TextDialect, ReadsItsHeaderInAnyOrderAndWidth) {
  const auto header = dialect_.DecodeHeader(TextRequest(11, std::string(64, ' ')));
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(dialect_.Claims(*header));
  EXPECT_EQ(header->client_id, Id());
  EXPECT_EQ(header->version, 7u);
  EXPECT_EQ(header->code, 11u);
  EXPECT_EQ(header->payload_size, 114u);
}

TEST_F(TextDialect, IsNotWhatHasAnotherMagicNumber) {
  std::string request = TextRequest(1, std::string(64, ' '));
  request[0] = '\xCD';
  EXPECT_FALSE(dialect_.Claims(*dialect_.DecodeHeader(request)));
}

TEST_F(TextDialect, CutsNamesWhereItSays) {
  EXPECT_EQ(As<Register>(dialect_.DecodeHead(TextRequest(1, Filled("my pc", 64, ' ')))).name,
            "my pc");
  const std::string key = "-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----\n";
  const auto sent =
      As<SendPublicKey>(dialect_.DecodeHead(TextRequest(2, Filled("my pc\r\njunk", 64) + key)));
  EXPECT_EQ(sent.name, "my pc");
  EXPECT_EQ(sent.public_key, "secret");
  EXPECT_EQ(sent.session_key.bits, 256);
  EXPECT_TRUE(sent.session_key.pkcs1_v15);
}

TEST_F(TextDialect, RefusesAKeyThatIsLongerThanItsLimitOrNoText) {
  EXPECT_THAT(dialect_.DecodeHead(TextRequest(2, std::string(64 + 401, 'A'))),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(dialect_.DecodeHead(TextRequest(2, std::string(64 + 400, '!'))),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

std::string TextFile(uint64_t content_size, uint64_t original_size) {
  return TextRequest(
      3, Filled("a.txt", 100) + LittleEndian(original_size, 8) + BigEndian(content_size, 8));
}

TEST_F(TextDialect, TakesTheLengthOfTextFromAContentSizeThatCountsItself) {
  // 16 bytes of initial vector and 304 of 300 that were filled up with zeros.
  constexpr uint64_t kText = (16 + 304 + 2) / 3 * 4 + 6;  // In lines of 72.
  const auto decoded = dialect_.DecodeHead(TextFile(kText + 8, 300));
  const auto file = As<SendFile>(decoded);
  EXPECT_EQ(decoded->value().body_size, kText);
  EXPECT_EQ(file.content_size, kText + 8);
  EXPECT_EQ(file.plaintext_size, 300u);
  EXPECT_EQ(file.name_field, Filled("a.txt", 100));
  EXPECT_TRUE(dialect_.content().initial_vector_in_front);
  EXPECT_TRUE(dialect_.content().padded_with_zeros);
}

TEST_F(TextDialect, RefusesSizesBeyondAllLimits) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{7}, uint64_t{8}, uint64_t{1} << 43, ~uint64_t{0}})
    EXPECT_THAT(dialect_.DecodeHead(TextFile(size, 300)),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  // Smaller than the header that it counts.
  std::string request = TextRequest(1, std::string(64, ' '));
  request.replace(42, 8, LittleEndian(3, 8));
  EXPECT_THAT(dialect_.DecodeHead(request), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(TextDialect, AnswersInItsLayout) {
  const Request request = dialect_.DecodeHead(TextFile(440, 300))->value().request;
  EXPECT_EQ(
      dialect_.EncodeReply(FileReceived{Id(), 440, Filled("a.txt", 100), 0x01020304}, &request),
      BigEndian(104, 4) + LittleEndian(124, 2) + "\x01\x02\x03\x04" +
          Filled(Filled("a.txt", 100), 120, ' '));
  const std::string key(128, 'k');
  EXPECT_EQ(dialect_.EncodeReply(KeyAccepted{Id(), key}, nullptr),
            BigEndian(103, 4) + LittleEndian(180, 2) + Filled(absl::Base64Escape(key), 180, ' '));
  EXPECT_EQ(dialect_.EncodeReply(GeneralError{}, nullptr),
            BigEndian(0xFFFFFFFF, 4) + LittleEndian(6, 2));
  EXPECT_TRUE(dialect_.EndsConnection(7, false));
  EXPECT_EQ(dialect_.retry_answer(), RetryAnswer::kNever);
  EXPECT_TRUE(dialect_.LooksUpZeroIds());
}

class BareDialect : public ::testing::Test {
 protected:
  static std::string Request(uint8_t code, const std::string& payload) {
    return std::string(1, static_cast<char>(code)) + LittleEndian(payload.size(), 2) + payload;
  }
  const Dialect dialect_ = Parsed(kBareDialect);
};

TEST_F(BareDialect, TakesTheIdFromThePayloadIfTheHeaderHasNone) {
  const auto decoded = dialect_.DecodeHead(Request(3, absl::Base64Escape(kIdBytes)));
  ASSERT_OK(decoded);
  EXPECT_EQ(decoded->value().request.client_id, Id());
  EXPECT_THAT(dialect_.DecodeHead(Request(3, std::string(24, '!'))),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(BareDialect, TakesTheRestOfAPayloadForAName) {
  EXPECT_EQ(As<Register>(dialect_.DecodeHead(Request(1, "my pc"))).name, "my pc");
  EXPECT_EQ(As<Register>(dialect_.DecodeHead(Request(1, ""))).name, "");
  EXPECT_THAT(dialect_.DecodeHead(Request(1, std::string(256, 'n'))),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(BareDialect, DoesNotBelieveASizeThatLies) {
  const std::string fields = absl::Base64Escape(kIdBytes) + Filled("a", 32);
  for (const uint64_t size : {0, 1, 56, 65535}) {
    const auto decoded = dialect_.DecodeHead(absl::StrCat("\x05", LittleEndian(size, 2), fields));
    EXPECT_EQ(As<ChecksumVerdict>(decoded).name, "a");
    EXPECT_EQ(decoded->value().head_size, 3 + fields.size());
  }
}

TEST_F(BareDialect, ReckonsTheTextOfAPlaintext) {
  const std::string fields = absl::Base64Escape(kIdBytes) + Filled("a", 32) + BigEndian(300, 4);
  const auto decoded = dialect_.DecodeHead(Request(4, fields));
  ASSERT_OK(decoded);
  EXPECT_EQ(decoded->value().body_size, 2 * 304u);
}

const Dialect& BuiltIn(absl::string_view name) {
  for (const Dialect& dialect : BuiltInDialects()) {
    if (dialect.name() == name) return dialect;
  }
  LOG(FATAL) << name;
}

TEST(E3, ReadsAPacketWithoutAHeader) {
  const Dialect& dialect = BuiltIn("e3");
  const auto fields = [](uint16_t number) {
    return BigEndian(3024, 4) + BigEndian(3000, 4) + BigEndian(number, 2) + BigEndian(3, 2) +
           Filled("hello.txt", 255);
  };
  const std::string header =
      std::string(kIdBytes) + "\x03" + BigEndian(828, 2) + BigEndian(267 + 1024, 4);
  const auto first = dialect.DecodeHead(header + fields(1));
  ASSERT_OK(first);
  EXPECT_EQ(first->value().body_size, 1024u);
  const std::string bare = fields(2);
  for (size_t size = 0; size < bare.size(); ++size) {
    EXPECT_EQ(*dialect.DecodeBarePacket(bare.substr(0, size), first->value()), std::nullopt);
  }
  const auto second = dialect.DecodeBarePacket(bare + "content", first->value());
  const auto file = As<SendFile>(second);
  EXPECT_EQ(second->value().head_size, 267u);
  EXPECT_EQ(second->value().body_size, 1024u);
  EXPECT_EQ(second->value().request.client_id, Id());
  EXPECT_EQ(file.packet->number, 2u);
  EXPECT_EQ(file.name, "hello.txt");
  EXPECT_THAT(dialect.DecodeBarePacket(fields(0), first->value()),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(B3, CountsAByteLessThanItSends) {
  const Dialect& dialect = BuiltIn("b3");
  const auto header = [](uint16_t code, uint32_t size) {
    return std::string(kIdBytes) + LittleEndian(3, 2) + LittleEndian(code, 2) +
           LittleEndian(size, 4);
  };
  const std::string request = header(1100, 255) + Filled("my pc", 256);
  const auto decoded = dialect.DecodeHead(request);
  ASSERT_OK(decoded);
  EXPECT_EQ(decoded->value().head_size, request.size());
  EXPECT_THAT(dialect.DecodeHead(header(1100, 256)), StatusIs(absl::StatusCode::kInvalidArgument));
  // 3 000 bytes are 187 pieces of 16 and one of 8.
  const std::string file = LittleEndian(6000, 4) + Filled("hello.txt", 256);
  EXPECT_EQ(dialect.DecodeHead(header(1103, 260 + 6000) + file)->value().body_size, 6000u);
  EXPECT_THAT(dialect.DecodeHead(header(1103, 260 + 6048) + file),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(dialect.EncodeReply(FileReceived{Id(), 6000, Filled("hello.txt", 255), 7}, nullptr),
            LittleEndian(3, 2) + LittleEndian(2103, 2) + LittleEndian(279, 4) +
                std::string(kIdBytes) + LittleEndian(6000, 4) + Filled("hello.txt", 256) +
                LittleEndian(7, 4));
}

}  // namespace
}  // namespace backup::wire
