#include "legacy_client/frames.h"

#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;

constexpr char kIdHex[] = "101112131415161718191a1b1c1d1e1f";

std::string Hex(absl::string_view hex) { return *HexToBytes(hex); }
std::string NameField(absl::string_view name) {
  return absl::StrCat(name, std::string(255 - name.size(), '\0'));
}
Sender Someone(uint8_t version) { return {*ClientId::FromBytes(Hex(kIdHex)), version}; }

TEST(Frames, RegistrationHasAZeroIdAndTheName) {
  EXPECT_EQ(EncodeNameRequest(Sender(), RequestKind::kRegister, "User 14435"),
            absl::StrCat(std::string(16, '\0'), Hex("010104ff000000"), NameField("User 14435")));
}

TEST(Frames, NameRequestsDifferInTheirCode) {
  const std::pair<RequestKind, absl::string_view> codes[] = {{RequestKind::kReconnect, "0304"},
                                                             {RequestKind::kChecksumOk, "0504"},
                                                             {RequestKind::kRetry, "0604"},
                                                             {RequestKind::kAbort, "0704"}};
  for (const auto& [code, hex] : codes) {
    EXPECT_EQ(EncodeNameRequest(Someone(3), code, "a"),
              absl::StrCat(Hex(kIdHex), Hex("03"), Hex(hex), Hex("ff000000"), NameField("a")));
  }
}

TEST(Frames, OtherFamiliesHaveOtherCodes) {
  Sender sender = Someone(3);
  sender.family = Family::kE;
  EXPECT_EQ(EncodeNameRequest(sender, RequestKind::kAbort, "a"),
            absl::StrCat(Hex(kIdHex), Hex("038603ff000000"), NameField("a")));
  EXPECT_EQ(DecodeAnswerHeader(Hex("03470600000000"), Family::kE)->kind, AnswerKind::kGeneralError);
  EXPECT_THAT(DecodeAnswerHeader(Hex("03340800000000"), Family::kE),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(Frames, FamilyASaysItsIdAgainWhereItIsAboutAFile) {
  Sender sender = Someone(3);
  sender.family = Family::kA;
  EXPECT_EQ(EncodeNameRequest(sender, RequestKind::kRetry, "a"),
            absl::StrCat(Hex(kIdHex), Hex("0351040f010000"), Hex(kIdHex), NameField("a")));
  EXPECT_EQ(EncodeNameRequest(sender, RequestKind::kRegister, "a"),
            absl::StrCat(Hex(kIdHex), Hex("034c04ff000000"), NameField("a")));
}

TEST(Frames, NameMayFillItsField) {
  const std::string name(255, 'n');
  const std::string request = EncodeNameRequest(Someone(1), RequestKind::kRetry, name);
  EXPECT_EQ(request.size(), 23u + 255u);
  EXPECT_EQ(request.substr(23), name);
}

TEST(Frames, PublicKeyFollowsTheName) {
  const std::string key(160, 'k');
  EXPECT_EQ(EncodePublicKeyRequest(Someone(1), "User 14435", key),
            absl::StrCat(Hex(kIdHex), Hex("0102049f010000"), NameField("User 14435"), key));
}

TEST(Frames, FileHeadSaysTheSizesItIsGiven) {
  EXPECT_EQ(
      EncodeFileHead(Someone(1), {259 + 3008, 3008}, "hello.txt"),
      absl::StrCat(Hex(kIdHex), Hex("010404c30c0000"), Hex("c00b0000"), NameField("hello.txt")));
}

TEST(Frames, AnswerHeaderIsDecoded) {
  const auto header = DecodeAnswerHeader(Hex("03370817010000"), Family::kC);
  ASSERT_OK(header);
  EXPECT_EQ(header->kind, AnswerKind::kFileReceived);
  EXPECT_EQ(header->payload_size, 279u);
}

TEST(Frames, AnswerHeaderOfAnotherVersionOrFamilyIsRefused) {
  for (const absl::string_view hex : {"01370817010000", "03330817010000", "033c0817010000"}) {
    EXPECT_THAT(DecodeAnswerHeader(Hex(hex), Family::kC), StatusIs(absl::StatusCode::kDataLoss))
        << hex;
  }
}

TEST(Frames, KeyAnswerIsIdAndEncryptedKey) {
  const auto answer = DecodeKeyPayload(absl::StrCat(Hex(kIdHex), std::string(128, 'e')));
  ASSERT_OK(answer);
  EXPECT_EQ(answer->id.bytes(), Hex(kIdHex));
  EXPECT_EQ(answer->encrypted_key, std::string(128, 'e'));
  EXPECT_THAT(DecodeKeyPayload(std::string(143, 'e')), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(Frames, FileAnswerIsIdSizeNameAndChecksum) {
  const std::string payload =
      absl::StrCat(Hex(kIdHex), Hex("c00b0000"), NameField("hello.txt"), Hex("ee32ab70"));
  const auto answer = DecodeFilePayload(payload);
  ASSERT_OK(answer);
  EXPECT_EQ(answer->id.bytes(), Hex(kIdHex));
  EXPECT_EQ(answer->content_size, 3008u);
  EXPECT_EQ(answer->file_name, "hello.txt");
  EXPECT_EQ(answer->checksum, 0x70ab32eeu);
  EXPECT_THAT(DecodeFilePayload(payload + "x"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(Frames, IdPayloadHas16Bytes) {
  EXPECT_OK(DecodeIdPayload(Hex(kIdHex)));
  EXPECT_THAT(DecodeIdPayload(""), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace backup::legacy_client
