#include "legacy_client/frames.h"

#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "legacy_client/client_style.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;
using bridge::v1::Field;
using ::testing::HasSubstr;

constexpr char kIdHex[] = "101112131415161718191a1b1c1d1e1f";

std::string Hex(absl::string_view hex) { return *HexToBytes(hex); }
std::string NameField(absl::string_view name) {
  return absl::StrCat(name, std::string(255 - name.size(), '\0'));
}
ClientId Id() { return *ClientId::FromBytes(Hex(kIdHex)); }

Frames FramesOf(ClientStyle style) {
  const ClientStyle complete = Complete(std::move(style)).value();
  return Frames(complete.dialect, FrameStyleOf(complete));
}
Frames FramesOf(absl::string_view family, uint32_t version) {
  return FramesOf({.dialect = FamilyDialect(family).value(), .header_version = version});
}

TEST(Frames, RegistrationHasAZeroIdAndTheName) {
  EXPECT_EQ(FramesOf("C", 1).Request(RequestKind::REGISTER, {.client_name = "User 14435"}),
            absl::StrCat(std::string(16, '\0'), Hex("010104ff000000"), NameField("User 14435")));
}

TEST(Frames, NameRequestsDifferInTheirCode) {
  const std::pair<RequestKind, absl::string_view> codes[] = {{RequestKind::RECONNECT, "0304"},
                                                             {RequestKind::VALID, "0504"},
                                                             {RequestKind::RETRY, "0604"},
                                                             {RequestKind::ABORT, "0704"}};
  for (const auto& [code, hex] : codes) {
    EXPECT_EQ(FramesOf("C", 3).Request(code, {.id = Id(), .client_name = "a", .file_name = "a"}),
              absl::StrCat(Hex(kIdHex), Hex("03"), Hex(hex), Hex("ff000000"), NameField("a")));
  }
}

TEST(Frames, OtherFamiliesHaveOtherCodes) {
  const Frames frames = FramesOf("E", 3);
  EXPECT_EQ(frames.Request(RequestKind::ABORT, {.id = Id(), .file_name = "a"}),
            absl::StrCat(Hex(kIdHex), Hex("038603ff000000"), NameField("a")));
  EXPECT_EQ(frames.DecodeAnswerHeader(Hex("03470600000000"), RequestKind::FILE)->kind,
            AnswerKind::GENERAL_ERROR);
  EXPECT_THAT(frames.DecodeAnswerHeader(Hex("03340800000000"), RequestKind::REGISTER),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(Frames, FamilyASaysItsIdAgainWhereItIsAboutAFile) {
  const Frames frames = FramesOf("A", 3);
  EXPECT_EQ(frames.Request(RequestKind::RETRY, {.id = Id(), .file_name = "a"}),
            absl::StrCat(Hex(kIdHex), Hex("0351040f010000"), Hex(kIdHex), NameField("a")));
  EXPECT_EQ(frames.Request(RequestKind::REGISTER, {.id = Id(), .client_name = "a"}),
            absl::StrCat(Hex(kIdHex), Hex("034c04ff000000"), NameField("a")));
  EXPECT_FALSE(frames.Has(RequestKind::RECONNECT));
}

TEST(Frames, IdsThatMayBeMissingAreThereIfTheStyleSaysSo) {
  const Frames frames =
      FramesOf({.dialect = FamilyDialect("C").value(), .header_version = 3, .id_in_payload = true});
  EXPECT_EQ(frames.Request(RequestKind::RETRY, {.id = Id(), .file_name = "a"}),
            absl::StrCat(Hex(kIdHex), Hex("0306040f010000"), Hex(kIdHex), NameField("a")));
}

TEST(Frames, NameMayFillItsField) {
  const Frames frames = FramesOf("C", 1);
  const std::string name(255, 'n');
  const std::string request = frames.Request(RequestKind::RETRY, {.file_name = name});
  EXPECT_EQ(request.size(), 23u + 255u);
  EXPECT_EQ(request.substr(23), name);
  EXPECT_OK(frames.Check(RequestKind::RETRY, {.file_name = name}));
  EXPECT_THAT(frames.Check(RequestKind::RETRY, {.file_name = absl::StrCat(name, "n")}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Frames, PublicKeyFollowsTheName) {
  const std::string key(158, 'k');
  EXPECT_EQ(FramesOf("C", 1).Request(RequestKind::PUBLIC_KEY,
                                     {.id = Id(), .client_name = "User 14435", .public_key = key}),
            absl::StrCat(Hex(kIdHex), Hex("0102049f010000"), NameField("User 14435"), key,
                         std::string(2, '\0')));
}

TEST(Frames, FieldsThatMayBeShorterAreSoIfTheStyleSaysSo) {
  const std::string key(160, 'k');
  const Frames frames =
      FramesOf({.dialect = FamilyDialect("C").value(), .header_version = 1, .short_fields = true});
  EXPECT_EQ(
      frames.Request(RequestKind::PUBLIC_KEY, {.id = Id(), .client_name = "me", .public_key = key}),
      absl::StrCat(Hex(kIdHex), Hex("010204a2000000"), "me", key));
  EXPECT_EQ(frames.Request(RequestKind::REGISTER, {.client_name = "me"}).size(), 23u + 255);
}

TEST(Frames, FileHeadSaysTheSizesItIsGiven) {
  const Frames frames = FramesOf("C", 1);
  const RequestValues values = {.id = Id(), .file_name = "hello.txt", .content_size = 3008};
  EXPECT_EQ(
      absl::StrCat(frames.Header(RequestKind::FILE, values, 259 + 3008),
                   frames.Fields(RequestKind::FILE, values)),
      absl::StrCat(Hex(kIdHex), Hex("010404c30c0000"), Hex("c00b0000"), NameField("hello.txt")));
}

TEST(Frames, AnswerHeaderIsDecoded) {
  const Frames frames = FramesOf("C", 1);
  const auto header = frames.DecodeAnswerHeader(Hex("03370817010000"), RequestKind::FILE);
  ASSERT_OK(header);
  EXPECT_EQ(header->kind, AnswerKind::FILE_RECEIVED);
  EXPECT_EQ(header->payload_size, 279);
}

TEST(Frames, AnswerHeaderOfAnotherVersionOrFamilyIsRefused) {
  const Frames frames = FramesOf("C", 1);
  for (const absl::string_view hex : {"01370817010000", "03330817010000", "033c0817010000"}) {
    EXPECT_THAT(frames.DecodeAnswerHeader(Hex(hex), RequestKind::FILE),
                StatusIs(absl::StatusCode::kDataLoss))
        << hex;
  }
}

absl::StatusOr<AnswerValues> Decode(const Frames& frames, RequestKind asked,
                                    absl::string_view header, absl::string_view payload) {
  Answer answer;
  answer.header_bytes = std::string(header);
  answer.payload = std::string(payload);
  const auto decoded = frames.DecodeAnswerHeader(header, asked);
  if (!decoded.ok()) return decoded.status();
  answer.header = *decoded;
  return frames.Decode(answer);
}

TEST(Frames, KeyAnswerIsIdAndEncryptedKey) {
  const Frames frames = FramesOf("C", 1);
  const std::string header = Hex("03360890000000");
  const auto values = Decode(frames, RequestKind::PUBLIC_KEY, header,
                             absl::StrCat(Hex(kIdHex), std::string(128, 'e')));
  ASSERT_OK(values);
  EXPECT_EQ(values->id, Id());
  EXPECT_EQ(values->encrypted_key, std::string(128, 'e'));
  for (const size_t size : {0, 143, 145}) {
    EXPECT_THAT(Decode(frames, RequestKind::PUBLIC_KEY, header, std::string(size, 'e')),
                StatusIs(absl::StatusCode::kDataLoss));
  }
}

TEST(Frames, FileAnswerIsIdSizeNameAndChecksum) {
  const Frames frames = FramesOf("C", 1);
  const auto values =
      Decode(frames, RequestKind::FILE, Hex("03370817010000"),
             absl::StrCat(Hex(kIdHex), Hex("c00b0000"), NameField("hello.txt"), Hex("ee32ab70")));
  ASSERT_OK(values);
  EXPECT_EQ(values->id, Id());
  EXPECT_EQ(values->content_size, 3008);
  EXPECT_EQ(values->checksum, 0x70ab32eeu);
  EXPECT_TRUE(frames.IsEcho(*values->file_name_field, "hello.txt"));
  EXPECT_FALSE(frames.IsEcho(*values->file_name_field, "hello"));
  EXPECT_FALSE(frames.IsEcho(*values->file_name_field, "hello.txt2"));
}

// A dialect in which everything is somewhere else.
Dialect OddDialect() {
  constexpr char kText[] = R"(
    name: "odd"
    byte_order: BIG
    request_header { kind: CONSTANT width: 2 value: 0xCAFE }
    request_header { kind: PAYLOAD_SIZE width: 2 }
    request_header { kind: FILL width: 1 fill: 0x2A }
    request_header { kind: CODE width: 1 }
    request_header { kind: CLIENT_ID width: 33 text: HEX fill: 32 }
    request_header { kind: VERSION width: 2 byte_order: LITTLE }
    answer_header { kind: PAYLOAD_SIZE width: 4 }
    answer_header { kind: CONSTANT width: 1 value: 0x55 }
    answer_header { kind: CODE width: 1 }
    answer_header { kind: FILL width: 1 }
    requests { kind: REGISTER codes: [ 1, 101 ] uncounted_bytes: -42
               fields { kind: CLIENT_NAME max_width: 20 name_end: AT_LINE_FEED } }
    requests { kind: PUBLIC_KEY codes: 2
               fields { kind: CLIENT_NAME width: 8 name_end: AT_LAST_VISIBLE fill: 32 }
               fields { kind: PUBLIC_KEY max_width: 300 text: PEM } }
    requests { kind: FILE codes: 3
               fields { kind: FILE_NAME width: 12 }
               fields { kind: CONTENT_SIZE width: 8 }
               content { length: BY_CONTENT_SIZE content_size_counts: WIRE text: HEX } }
    requests { kind: VALID codes: 4 fields { kind: FILE_NAME width: 12 } }
    answers { kind: REGISTERED code: 1 fields { kind: CLIENT_ID width: 24 text: BASE64 } }
    answers { kind: REGISTRATION_FAILED code: 9 }
    answers { kind: KEY_ACCEPTED code: 1 fields { kind: SESSION_KEY max_width: 256 text: HEX } }
    answers { kind: FILE_RECEIVED code: 1 uncounted_bytes: 1
              fields { kind: CHECKSUM width: 4 byte_order: LITTLE }
              fields { kind: FILL width: 1 }
              fields { kind: FILE_NAME width: 4 } }
    answers { kind: ACKNOWLEDGED code: 2 }
    answers { kind: GENERAL_ERROR code: 9 }
    cryptography { session_key_bits: 128 public_key_form: PKCS1 }
  )";
  return ParseDialect(kText, "odd.textproto").value();
}

TEST(OddFrames, HeadersAreInTheOrderAndTheWidthsOfTheDialect) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  EXPECT_EQ(
      frames.Request(RequestKind::VALID, {.id = Id(), .file_name = "f"}),
      absl::StrCat(Hex("cafe000c2a04"), kIdHex, " ", Hex("0300"), "f", std::string(11, '\0')));
}

TEST(OddFrames, PayloadSizeMayCountItsHeader) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  const std::string request = frames.Request(RequestKind::REGISTER, {.client_name = "me"});
  EXPECT_EQ(request,
            absl::StrCat(Hex("cafe002d2a01"), std::string(32, '0'), " ", Hex("0300"), "me\n"));
}

TEST(OddFrames, PublicKeyMayBePem) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  const RequestValues values = {.client_name = "me", .public_key = "hello"};
  EXPECT_EQ(frames.Fields(RequestKind::PUBLIC_KEY, values),
            "me      -----BEGIN RSA PUBLIC KEY-----\naGVsbG8=\n-----END RSA PUBLIC KEY-----\n");
  const std::string large(300, 'k');
  EXPECT_THAT(frames.Check(RequestKind::PUBLIC_KEY, {.client_name = "me", .public_key = large}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(OddFrames, LargestValuesAreThoseOfTheFields) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  EXPECT_EQ(frames.LargestValue(RequestKind::FILE, Field::PAYLOAD_SIZE), 0xFFFF);
  EXPECT_EQ(frames.LargestValue(RequestKind::FILE, Field::CONTENT_SIZE), INT64_MAX);
  EXPECT_EQ(frames.LargestValue(RequestKind::FILE, Field::ORIGINAL_SIZE), INT64_MAX);
}

TEST(OddFrames, OneCodeMeansWhatFitsTheRequest) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  const std::string header = Hex("00000018550100");
  const auto registered = Decode(frames, RequestKind::REGISTER, header, "EBESExQVFhcYGRobHB0eHw==");
  ASSERT_OK(registered);
  EXPECT_EQ(registered->id, Id());
  const auto accepted = Decode(frames, RequestKind::PUBLIC_KEY, header, std::string(256, '6'));
  ASSERT_OK(accepted);
  EXPECT_EQ(accepted->encrypted_key, std::string(128, 'f'));
  EXPECT_EQ(frames.DecodeAnswerHeader(Hex("00000000550900"), RequestKind::REGISTER)->kind,
            AnswerKind::REGISTRATION_FAILED);
  EXPECT_EQ(frames.DecodeAnswerHeader(Hex("00000000550900"), RequestKind::VALID)->kind,
            AnswerKind::GENERAL_ERROR);
}

TEST(OddFrames, AnswerMayHaveMoreThanItsSizeSays) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  const std::string header = Hex("00000008550100");
  EXPECT_EQ(frames.DecodeAnswerHeader(header, RequestKind::FILE)->payload_size, 9);
  const auto received =
      Decode(frames, RequestKind::FILE, header, absl::StrCat(Hex("01020304"), "?", "hell"));
  ASSERT_OK(received);
  EXPECT_EQ(received->checksum, 0x04030201u);
  EXPECT_EQ(received->id, std::nullopt);
  EXPECT_TRUE(frames.IsEcho(*received->file_name_field, "hello"));
  EXPECT_FALSE(frames.IsEcho(*received->file_name_field, "help"));
}

TEST(OddFrames, ConstantsOfAnswersMustBeRight) {
  const Frames frames = FramesOf({.dialect = OddDialect()});
  EXPECT_THAT(Decode(frames, RequestKind::VALID, Hex("00000000560200"), ""),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_OK(Decode(frames, RequestKind::VALID, Hex("00000000550200"), ""));
}

TEST(OddFrames, AnswersMayDependOnTheIdInThePayload) {
  const Frames with_id = FramesOf({.dialect = FamilyDialect("C").value(), .id_in_payload = true});
  const Frames without_id = FramesOf({.dialect = FamilyDialect("C").value()});
  const std::string header = Hex("03380800000000");
  EXPECT_EQ(with_id.DecodeAnswerHeader(header, RequestKind::RETRY)->layout->fields_size(), 0);
  EXPECT_EQ(with_id.DecodeAnswerHeader(header, RequestKind::VALID)->layout->fields_size(), 1);
  EXPECT_EQ(without_id.DecodeAnswerHeader(header, RequestKind::RETRY)->layout->fields_size(), 1);
}

TEST(OddFrames, MessagesArePaddedToTheMultiple) {
  Dialect dialect = OddDialect();
  dialect.mutable_padding()->set_multiple_of(64);
  EXPECT_EQ(FramesOf({.dialect = dialect}).RequestPadding(65), 0);
  dialect.mutable_padding()->set_answers(bridge::v1::MessagePadding::ALWAYS);
  EXPECT_EQ(FramesOf({.dialect = dialect}).RequestPadding(65), 0);
  EXPECT_EQ(FramesOf({.dialect = dialect}).AnswerPadding(65), 63);
  dialect.mutable_padding()->set_requests(bridge::v1::MessagePadding::BY_CLIENT);
  dialect.mutable_padding()->set_answers(bridge::v1::MessagePadding::BY_CLIENT);
  EXPECT_EQ(FramesOf({.dialect = dialect}).AnswerPadding(65), 0);
  EXPECT_EQ(FramesOf({.dialect = dialect, .blocks_1024 = true}).AnswerPadding(65), 63);
  EXPECT_EQ(FramesOf({.dialect = dialect, .blocks_1024 = true}).RequestPadding(64), 0);
}

}  // namespace
}  // namespace backup::legacy_client
