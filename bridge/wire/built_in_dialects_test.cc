// The built-in dialects: the families of the published protocol in detail, and that all of them,
// and some that use what those do not, keep what bridge/wire/dialect.h promises.

#include "absl/strings/str_replace.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/sample_requests.h"
#include "bridge/wire/testing/dialect_contract.h"
#include "bridge/wire/testing/unusual_dialects.h"

namespace backup::wire {

void PrintTo(const DialectUnderTest& param, std::ostream* out) { *out << param.dialect->name(); }

namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

constexpr uint16_t kRegisterCode = 1025;
constexpr uint16_t kPublicKeyCode = 1026;
constexpr uint16_t kReconnectCode = 1027;
constexpr uint16_t kFileCode = 1028;
constexpr uint16_t kValidCode = 1029;
constexpr uint16_t kRetryCode = 1030;
constexpr uint16_t kAbortCode = 1031;

constexpr absl::string_view kIdBytes = "0123456789abcdef";
const Dialect& Named(absl::string_view name) {
  for (const Dialect& dialect : BuiltInDialects()) {
    if (dialect.name() == name) return dialect;
  }
  LOG(FATAL) << name;
}
const Dialect& kDialect = Named("C");

ClientId Id() { return *ClientId::FromBytes(kIdBytes); }

std::string Request(uint16_t code, uint32_t payload_size, absl::string_view payload,
                    uint8_t version = 3) {
  return RequestBytes({Id(), version, code, payload_size}, payload);
}

std::string Request(uint16_t code, absl::string_view payload) {
  return Request(code, static_cast<uint32_t>(payload.size()), payload);
}

// A file request's head, whatever its sizes.
std::string FileHead(uint32_t payload_size, uint32_t content_size, uint8_t version = 3) {
  const std::string fields = ByteWriter().U32(content_size).Bytes(NameField("a.txt")).Take();
  return Request(kFileCode, payload_size, fields, version);
}

absl::StatusOr<DecodedHead> Decode(absl::string_view bytes) {
  auto decoded = kDialect.DecodeHead(bytes);
  if (!decoded.ok()) return decoded.status();
  if (!decoded->has_value()) return absl::UnavailableError("not yet");
  return **std::move(decoded);
}

template <typename Operation>
Operation DecodeAs(absl::string_view bytes) {
  const absl::StatusOr<DecodedHead> head = Decode(bytes);
  EXPECT_OK(head);
  return std::get<Operation>(head.value().request.operation);
}

void ExpectRefused(absl::string_view bytes, const std::string& rule) {
  const absl::StatusOr<DecodedHead> head = Decode(bytes);
  EXPECT_THAT(head, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(head.status().message()), HasSubstr(rule));
}

std::vector<std::string> WholeHeads() {
  const std::string key = testing::PseudoRandomBytes(160);
  return {Request(kRegisterCode, NameField("laptop-7")),
          Request(kPublicKeyCode, NameField("laptop-7") + key),
          Request(kPublicKeyCode, "laptop-7" + key),
          Request(kReconnectCode, NameField("laptop-7")),
          FileHead(259 + 3008, 3008),
          FileHead(259 + 3008, 3000),
          FileHead(259, 16),
          FileHead(3, 160, /*version=*/1),
          Request(kValidCode, NameField("a.txt")),
          Request(kRetryCode, NameField("a.txt")),
          Request(kAbortCode, NameField("a.txt"))};
}

INSTANTIATE_TEST_SUITE_P(FamilyC, DialectContract,
                         ::testing::Values(DialectUnderTest{&kDialect, WholeHeads()}));

// The same request kinds in the codes of another family, and with the id in front where one may be.
std::vector<std::string> HeadsOfAB() {
  const std::string id(kIdBytes);
  const std::string fields = ByteWriter().U32(3008).Bytes(NameField("a.txt")).Take();
  return {Request(1100, NameField("laptop-7")),
          Request(1101, NameField("laptop-7") + testing::PseudoRandomBytes(160)),
          Request(1102, NameField("laptop-7")),
          Request(1103, 259 + 3008, fields),
          Request(1103, 275 + 3008, id + fields),
          Request(1103, 275, id + fields),
          Request(1104, NameField("a.txt")),
          Request(1104, id + NameField("a.txt")),
          Request(1105, id + NameField("a.txt")),
          Request(1106, id + NameField("a.txt"))};
}

INSTANTIATE_TEST_SUITE_P(FamiliesAB, DialectContract,
                         ::testing::Values(DialectUnderTest{&Named("A/B"), HeadsOfAB()}));

std::string PacketHead(uint16_t code, uint32_t payload_size, uint16_t number, uint16_t total) {
  const std::string fields =
      ByteWriter().U32(10'016).U32(10'001).U16(number).U16(total).Bytes(NameField("a.bin")).Take();
  return Request(code, payload_size, fields);
}

std::vector<std::string> PacketHeads(uint16_t first_code, uint16_t valid_code) {
  const auto code = [&](int offset) { return static_cast<uint16_t>(first_code + offset); };
  return {Request(code(0), NameField("laptop-7")),
          Request(code(1), NameField("laptop-7") + testing::PseudoRandomBytes(160)),
          Request(code(2), NameField("laptop-7")),
          PacketHead(code(3), 267 + 4096, 1, 3),
          PacketHead(code(3), 267 + 4096, 3, 1),
          PacketHead(code(3), 267, 2, 3),
          PacketHead(code(3), 11, 2, 3),
          Request(valid_code, NameField("a.bin")),
          Request(static_cast<uint16_t>(valid_code + 1), NameField("a.bin")),
          Request(static_cast<uint16_t>(valid_code + 2), NameField("a.bin"))};
}

INSTANTIATE_TEST_SUITE_P(FamilyD, DialectContract,
                         ::testing::Values(DialectUnderTest{&Named("D"), PacketHeads(1025, 1029)}));
INSTANTIATE_TEST_SUITE_P(FamilyE, DialectContract,
                         ::testing::Values(DialectUnderTest{&Named("E"), PacketHeads(825, 900)}));

DecodedHead DecodeAB(const std::string& bytes) {
  const auto decoded = Named("A/B").DecodeHead(bytes);
  EXPECT_OK(decoded);
  return decoded.value().value();
}

TEST(FamiliesAB, AreToldApartByTheIdInFront) {
  const std::string id(kIdBytes);
  const std::string fields = ByteWriter().U32(16).Bytes(NameField("a.txt")).Take();
  EXPECT_EQ(DecodeAB(Request(1103, 259 + 16, fields)).request.family, "B");
  EXPECT_EQ(DecodeAB(Request(1103, 275 + 16, id + fields)).request.family, "A");
  EXPECT_EQ(DecodeAB(Request(1104, NameField("a"))).request.family, "B");
  EXPECT_EQ(DecodeAB(Request(1104, id + NameField("a"))).request.family, "A");
  EXPECT_EQ(DecodeAB(Request(1102, NameField("a"))).request.family, "B");
  EXPECT_EQ(DecodeAB(Request(1100, NameField("a"))).request.family, "A/B");
}

TEST(FamiliesAB, TakeTheIdInFrontOffFilesAndVerdicts) {
  const std::string id(kIdBytes);
  const std::string fields = ByteWriter().U32(3000).Bytes(NameField("a.txt")).Take();
  const DecodedHead head = DecodeAB(Request(1103, 275 + 3008, id + fields));
  EXPECT_EQ(head.head_size, 23 + 275u);
  EXPECT_EQ(head.body_size, 3008u);
  const auto& file = std::get<SendFile>(head.request.operation);
  EXPECT_EQ(file.name_field, NameField("a.txt"));
  EXPECT_EQ(file.first_checksum, Checksum::kCrc32OfPlaintext);  // It said the plaintext's size.
  const auto verdict =
      std::get<ChecksumVerdict>(DecodeAB(Request(1105, id + NameField("a.txt"))).request.operation);
  EXPECT_EQ(verdict.name, "a.txt");
  EXPECT_TRUE(verdict.id_in_front);
}

TEST(FamiliesAB, AContentSizeAboveTheContentMakesBlocks) {
  const auto file_of = [](const DecodedHead& head) {
    return std::get<SendFile>(head.request.operation);
  };
  const std::string fields = ByteWriter().U32(5008).Bytes(NameField("a.txt")).Take();
  const DecodedHead block = DecodeAB(Request(1103, 259 + 736, fields));
  EXPECT_EQ(file_of(block).blocks_size, 5008u);
  EXPECT_EQ(block.body_size, 736u);
  EXPECT_EQ(block.request.family, "B");
  EXPECT_EQ(file_of(DecodeAB(Request(1103, 259 + 5008, fields))).blocks_size, 0u);
  EXPECT_EQ(file_of(DecodeAB(Request(1103, 259, fields))).blocks_size, 0u);
  // Neither one with the id in front, nor one that is no ciphertext.
  const Dialect& dialect = Named("A/B");
  EXPECT_THAT(dialect.DecodeHead(Request(1103, 275 + 736, std::string(kIdBytes) + fields)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(dialect.DecodeHead(Request(1103, 259 + 742, fields)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(FamiliesAB, RefuseAnotherIdInFrontOfAVerdict) {
  const auto decoded =
      Named("A/B").DecodeHead(Request(1104, std::string(16, 'x') + NameField("a")));
  EXPECT_THAT(decoded, StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(FamilyC, AcceptsAContentSizeThatWasCutAtItsFirstZeroByte) {
  const absl::StatusOr<DecodedHead> head = Decode(FileHead(259 + 0x010010, 0x10));
  ASSERT_OK(head);
  EXPECT_EQ(head->body_size, 0x010010u);
}

TEST(FamilyC, ClaimsItsSevenCodesAndNoOther) {
  for (uint32_t code = 0; code <= 0xFFFF; ++code) {
    const std::string bytes = Request(static_cast<uint16_t>(code), NameField("a"));
    EXPECT_EQ(kDialect.Claims(*kDialect.DecodeHeader(bytes)),
              code >= kRegisterCode && code <= kAbortCode)
        << code;
  }
}

TEST(FamilyC, RefusesACodeThatItDoesNotClaim) {
  ExpectRefused(Request(1032, NameField("laptop-7")),
                "request 1032 of version 3 is none of this dialect");
}

TEST(FamilyC, KeepsTheHeaderOfARequest) {
  const absl::StatusOr<DecodedHead> head =
      Decode(Request(kRegisterCode, 255, NameField("laptop-7"), /*version=*/2));
  ASSERT_OK(head);
  EXPECT_EQ(head->request.client_id, Id());
  EXPECT_EQ(head->request.version, 2u);
  EXPECT_EQ(head->request.code, kRegisterCode);
  EXPECT_EQ(head->head_size, 23 + 255u);
  EXPECT_EQ(head->body_size, 0u);
}

TEST(FamilyC, CutsNamesAtTheirFirstNul) {
  EXPECT_EQ(DecodeAs<Register>(Request(kRegisterCode, NameField("laptop-7"))).name, "laptop-7");
  EXPECT_EQ(DecodeAs<Reconnect>(Request(kReconnectCode, NameField("laptop-7"))).name, "laptop-7");
  EXPECT_EQ(DecodeAs<ChecksumVerdict>(Request(kValidCode, NameField("a.txt"))).name, "a.txt");
  EXPECT_EQ(DecodeAs<SendFile>(FileHead(259 + 16, 16)).name, "a.txt");
}

TEST(FamilyC, TakesAFieldWithoutNulAsTheWholeName) {
  const std::string name(255, 'x');
  EXPECT_EQ(DecodeAs<Register>(Request(kRegisterCode, name)).name, name);
}

TEST(FamilyC, LeavesItToTheServiceToRefuseAnEmptyName) {
  EXPECT_EQ(DecodeAs<Register>(Request(kRegisterCode, NameField(""))).name, "");
}

TEST(FamilyC, TakesNamesAsBytesOfAnyValue) {
  EXPECT_EQ(DecodeAs<Register>(Request(kRegisterCode, NameField("\xFF\n../\x01"))).name,
            "\xFF\n../\x01");
}

TEST(FamilyC, RefusesNamesThatAreNot255Bytes) {
  for (const uint16_t code : {kRegisterCode, kReconnectCode, kValidCode, kRetryCode, kAbortCode}) {
    for (const uint32_t size : {0u, 1u, 254u, 256u, 272u, 0xFFFFFFFFu}) {
      ExpectRefused(Request(code, size, NameField("laptop-7")), "NAME 255");
    }
  }
}

TEST(FamilyC, RefusesAWrongSizeFromTheHeaderAlone) {
  ExpectRefused(Request(kRegisterCode, 300, ""), "NAME 255");
}

TEST(FamilyC, DecodesTheVerdicts) {
  using Kind = ChecksumVerdict::Kind;
  EXPECT_EQ(DecodeAs<ChecksumVerdict>(Request(kValidCode, NameField("a"))).kind, Kind::kValid);
  EXPECT_EQ(DecodeAs<ChecksumVerdict>(Request(kRetryCode, NameField("a"))).kind, Kind::kRetry);
  EXPECT_EQ(DecodeAs<ChecksumVerdict>(Request(kAbortCode, NameField("a"))).kind, Kind::kAbort);
}

TEST(FamilyC, TakesThePublicKeyAfterTheNameField) {
  const std::string key = testing::PseudoRandomBytes(160);
  const auto request =
      DecodeAs<SendPublicKey>(Request(kPublicKeyCode, NameField("laptop-7") + key));
  EXPECT_EQ(request.name, "laptop-7");
  EXPECT_EQ(request.public_key, key);
}

TEST(FamilyC, TakesTheLast160BytesOfAShortPayloadAsTheKey) {
  const std::string key = testing::PseudoRandomBytes(160);
  for (const std::string& name :
       {std::string(), std::string("x"), std::string("laptop-7"), std::string(254, 'n')}) {
    const auto request = DecodeAs<SendPublicKey>(Request(kPublicKeyCode, name + key));
    EXPECT_EQ(request.name, name);
    EXPECT_EQ(request.public_key, key);
  }
  const std::string with_nul = std::string("laptop-7\0garbage", 16);
  EXPECT_EQ(DecodeAs<SendPublicKey>(Request(kPublicKeyCode, with_nul + key)).name, "laptop-7");
}

TEST(FamilyC, RefusesAPayloadWithoutRoomForAKey) {
  for (const uint32_t size : {0u, 1u, 159u}) {
    ExpectRefused(Request(kPublicKeyCode, size, ""), "PUBLIC_KEY 160");
  }
}

TEST(FamilyC, RefusesAPublicKeyPayloadThatIsTooLong) {
  for (const uint32_t size : {416u, 417u, 4096u, 0xFFFFFFFFu}) {
    ExpectRefused(Request(kPublicKeyCode, size, ""), "CLIENT_NAME 255 or less, PUBLIC_KEY 160");
  }
}

TEST(FamilyC, TakesTheChecksumOfTheCiphertextForVersion1AndOfThePlaintextForAllOthers) {
  for (int version = 0; version <= 255; ++version) {
    const auto file = DecodeAs<SendFile>(FileHead(259 + 16, 16, static_cast<uint8_t>(version)));
    EXPECT_EQ(file.first_checksum,
              version == 1 ? Checksum::kCrc32OfCiphertext : Checksum::kCksumOfPlaintext)
        << version;
  }
}

TEST(FamilyC, KeepsWhatItEchoesOfAFileByteForByte) {
  const auto file = DecodeAs<SendFile>(FileHead(259 + 3008, 3000));
  EXPECT_EQ(file.name_field, NameField("a.txt"));
  EXPECT_EQ(file.content_size, 3000u);
}

TEST(FamilyC, TrustsThePayloadSizeWhenItCountsTheContent) {
  for (const uint32_t content_size : {16u, 3008u, 1u << 20, 0xFFFFFFFFu - 259}) {
    const absl::StatusOr<DecodedHead> head = Decode(FileHead(259 + content_size, content_size));
    ASSERT_OK(head);
    EXPECT_EQ(head->head_size, 23 + 259u);
    EXPECT_EQ(head->body_size, content_size);
  }
}

TEST(FamilyC, AcceptsThePlaintextsSizeAsContentSize) {
  for (uint32_t plaintext_size = 3008 - 16; plaintext_size < 3008; ++plaintext_size) {
    const absl::StatusOr<DecodedHead> head = Decode(FileHead(259 + 3008, plaintext_size));
    ASSERT_OK(head);
    EXPECT_EQ(head->body_size, 3008u) << plaintext_size;
  }
  ASSERT_OK(Decode(FileHead(259 + 16, 0)));  // An empty file is one block of padding.
}

TEST(FamilyC, RefusesAContentSizeThatContradictsThePayloadSize) {
  for (const uint32_t content_size : {0u, 16u, 2991u, 3009u, 3024u, 0xFFFFFFFFu}) {
    ExpectRefused(FileHead(259 + 3008, content_size),
                  absl::StrCat("has 3008 bytes of content, but says ", content_size));
  }
}

TEST(FamilyC, TakesTheContentSizeWhenThePayloadSizeDoesNotCountTheContent) {
  const absl::StatusOr<DecodedHead> head = Decode(FileHead(259, 3008));
  ASSERT_OK(head);
  EXPECT_EQ(head->head_size, 23 + 259u);
  EXPECT_EQ(head->body_size, 3008u);
}

TEST(FamilyC, TakesTheContentSizeWhenThePayloadSizeIsCutShort) {
  for (const uint32_t payload_size : {0u, 1u, 3u, 195u, 258u}) {
    const absl::StatusOr<DecodedHead> head = Decode(FileHead(payload_size, 3008));
    ASSERT_OK(head);
    EXPECT_EQ(head->head_size, 23 + 259u);
    EXPECT_EQ(head->body_size, 3008u);
  }
}

TEST(FamilyC, RefusesAFileWithoutContent) {
  ExpectRefused(FileHead(259, 0), "no content");
  ExpectRefused(FileHead(0, 0), "no content");
}

TEST(FamilyC, EncodesEveryAnswerWithItsCode) {
  const std::string id(kIdBytes);
  const std::string key = testing::PseudoRandomBytes(128);
  const auto answer = [](uint16_t code, const std::string& payload) {
    return ByteWriter()
        .U8(3)
        .U16(code)
        .U32(static_cast<uint32_t>(payload.size()))
        .Bytes(payload)
        .Take();
  };
  EXPECT_EQ(kDialect.EncodeReply(Registered{Id()}, nullptr), answer(2100, id));
  EXPECT_EQ(kDialect.EncodeReply(RegistrationFailed{}, nullptr), answer(2101, ""));
  EXPECT_EQ(kDialect.EncodeReply(KeyAccepted{Id(), key}, nullptr), answer(2102, id + key));
  EXPECT_EQ(kDialect.EncodeReply(Acknowledged{Id()}, nullptr), answer(2104, id));
  EXPECT_EQ(kDialect.EncodeReply(Reconnected{Id(), key}, nullptr), answer(2105, id + key));
  EXPECT_EQ(kDialect.EncodeReply(ReconnectDenied{Id()}, nullptr), answer(2106, id));
  EXPECT_EQ(kDialect.EncodeReply(GeneralError{}, nullptr), answer(2107, ""));
  const std::string received =
      ByteWriter().Bytes(id).U32(3008).Bytes(NameField("a.txt")).U32(0x70AB32EE).Take();
  EXPECT_EQ(received.size(), 279u);
  EXPECT_EQ(kDialect.EncodeReply(FileReceived{Id(), 3008, NameField("a.txt"), 0x70AB32EE}, nullptr),
            answer(2103, received));
}

TEST(FamilyC, LeavesTheIdOutOfTheAnswerToARetryNoticeThatHasItInFront) {
  const std::string id(kIdBytes);
  for (const auto& [payload, size] : {std::pair(NameField("a"), 16), {id + NameField("a"), 0}}) {
    const absl::StatusOr<DecodedHead> head = Decode(Request(kRetryCode, payload));
    ASSERT_OK(head);
    EXPECT_EQ(kDialect.EncodeReply(Acknowledged{Id()}, &head->request).size(),
              kReplyHeaderSize + size);
  }
}

constexpr size_t kFieldsSize = 12 + kNameFieldSize;

std::string PacketOfE(uint16_t code, uint32_t payload_size, uint32_t content_size, uint16_t number,
                      uint16_t total) {
  return RequestBytes({Id(), 3, code, payload_size}, ByteWriter()
                                                         .U32(content_size)
                                                         .U32(10'001)
                                                         .U16(number)
                                                         .U16(total)
                                                         .Bytes(NameField("a.bin"))
                                                         .Take());
}

absl::StatusOr<std::optional<DecodedHead>> DecodeE(const std::string& bytes) {
  return Named("E").DecodeHead(bytes);
}

TEST(Packet, KeepsItsFieldsAsTheyAre) {
  const auto decoded = DecodeE(PacketOfE(828, kFieldsSize + 4096, 10'016, 3, 2));
  ASSERT_OK(decoded);
  const DecodedHead& head = decoded->value();
  EXPECT_EQ(head.head_size, kRequestHeaderSize + kFieldsSize);
  EXPECT_EQ(head.body_size, 4096u);
  EXPECT_EQ(head.request.family, "E");
  const auto& file = std::get<SendFile>(head.request.operation);
  EXPECT_EQ(file.content_size, 10'016u);
  EXPECT_EQ(file.name, "a.bin");
  EXPECT_EQ(file.name_field, NameField("a.bin"));
  ASSERT_TRUE(file.packet.has_value());
  EXPECT_EQ(file.packet->number, 3u);
  EXPECT_EQ(file.packet->total, 2u);
  EXPECT_EQ(file.packet->original_size, 10'001u);
}

TEST(Packet, TakesTheContentSizeWhenThePayloadSizeDoesNotCountTheContent) {
  for (const uint32_t payload_size : {uint32_t{kFieldsSize}, 0u, 11u}) {
    const auto decoded = DecodeE(PacketOfE(828, payload_size, 4096, 1, 1));
    ASSERT_OK(decoded);
    EXPECT_EQ(decoded->value().body_size, 4096u);
  }
}

TEST(Packet, CountsFromOne) {
  for (const auto& [number, total] : {std::pair<uint16_t, uint16_t>{0, 1}, {1, 0}, {0, 0}}) {
    const auto decoded = DecodeE(PacketOfE(828, kFieldsSize + 16, 16, number, total));
    EXPECT_THAT(decoded, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(decoded.status().message()), HasSubstr("counted from 1"));
  }
}

TEST(Packet, HasContent) {
  EXPECT_THAT(DecodeE(PacketOfE(828, kFieldsSize, 0, 1, 1)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

std::vector<DialectUnderTest> All() {
  static const auto& unusual = *new std::vector<Dialect>(UnusualDialects());
  std::vector<DialectUnderTest> all;
  for (const absl::Span<const Dialect> dialects : {BuiltInDialects(), absl::MakeSpan(unusual)}) {
    for (const Dialect& dialect : dialects) {
      DialectUnderTest& test = all.emplace_back(DialectUnderTest{&dialect, {}});
      for (const SampleRequest& sample : SampleRequestsOf(dialect, {2, 3})) {
        test.heads.push_back(sample.head);
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Dialects, DialectContract, ::testing::ValuesIn(All()),
                         [](const auto& instance) {
                           return absl::StrReplaceAll(instance.param.dialect->name(), {{"/", ""}});
                         });

}  // namespace
}  // namespace backup::wire
