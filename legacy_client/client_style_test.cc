#include "legacy_client/client_style.h"

#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;

Dialect Family(absl::string_view family) { return FamilyDialect(family).value(); }
Dialect BuiltIn(absl::string_view name) { return BuiltInDialect(name).value(); }

TEST(ClientStyle, OldClientOfFamilyCIsTheDefault) {
  const auto style = Complete({});
  ASSERT_OK(style);
  EXPECT_EQ(style->header_version, 1);
  EXPECT_EQ(style->checksum_kind, ChecksumKind::kCrc32OfCiphertext);
  EXPECT_EQ(style->file_style, FileStyle::kCounted);
  EXPECT_EQ(style->connection_use, ConnectionUse::kPerRequest);
  EXPECT_EQ(style->retry_notice, RetryNotice::kWait);
}

TEST(ClientStyle, VersionAndChecksumOfFamilyCFollowFromEachOther) {
  EXPECT_EQ(Complete({.checksum_kind = ChecksumKind::kCksumOfPlaintext})->header_version, 3);
  EXPECT_EQ(Complete({.header_version = 3})->checksum_kind, ChecksumKind::kCksumOfPlaintext);
  EXPECT_EQ(Complete({.header_version = 3})->connection_use, ConnectionUse::kSingle);
}

TEST(ClientStyle, OtherFamiliesSayVersion3AndCheckTheirPlaintext) {
  for (const absl::string_view family : {"A", "B", "D", "E"}) {
    const auto style = Complete({.dialect = Family(family)});
    ASSERT_OK(style);
    EXPECT_EQ(style->header_version, 3);
    EXPECT_EQ(style->checksum_kind, ChecksumKind::kCksumOfPlaintext);
    EXPECT_EQ(style->connection_use, ConnectionUse::kSingle);
    EXPECT_EQ(style->retry_notice, RetryNotice::kAtOnce);
  }
  EXPECT_EQ(
      Complete({.dialect = Family("A"), .content_size = ContentSize::kPlaintext})->checksum_kind,
      ChecksumKind::kCrc32OfPlaintext);
}

TEST(ClientStyle, BlocksOfVersion3NeedAConnectionForEach) {
  EXPECT_EQ(Complete({.dialect = Family("B"), .blocks_1024 = true})->connection_use,
            ConnectionUse::kPerRequest);
  EXPECT_EQ(
      Complete({.dialect = Family("B"), .header_version = 2, .blocks_1024 = true})->connection_use,
      ConnectionUse::kSingle);
}

TEST(ClientStyle, DialectThatLeavesNoChoiceIsFollowed) {
  const auto a2 = Complete({.dialect = BuiltIn("a2")});
  ASSERT_OK(a2);
  EXPECT_EQ(a2->header_version, 2);
  EXPECT_EQ(a2->checksum_kind, ChecksumKind::kCrc32OfPlaintext);
  EXPECT_EQ(a2->content_size, ContentSize::kPlaintext);
  EXPECT_EQ(a2->connection_use, ConnectionUse::kSingle);
  const auto b3 = Complete({.dialect = BuiltIn("b3")});
  ASSERT_OK(b3);
  EXPECT_EQ(b3->connection_use, ConnectionUse::kPerRequest);
  EXPECT_TRUE(ServerHangsUp(*b3));
  EXPECT_EQ(EncryptionOf(*b3).chunk_size, 16);
  const auto e3 = Complete({.dialect = BuiltIn("e3")});
  ASSERT_OK(e3);
  EXPECT_EQ(e3->file_style, FileStyle::kStream);
  EXPECT_EQ(e3->public_key_form, PublicKeyForm::kPkcs1);
  EXPECT_TRUE(EncryptionOf(*e3).vector_in_front);
}

TEST(ClientStyle, RetryNoticeIsAsTheDialectAnswersIt) {
  Dialect dialect = Family("B");
  dialect.mutable_conversation()->set_retry_answer(bridge::v1::Conversation::AT_ONCE);
  EXPECT_EQ(Complete({.dialect = dialect})->retry_notice, RetryNotice::kWait);
  dialect.mutable_conversation()->set_retry_answer(bridge::v1::Conversation::NOT_AT_ALL);
  EXPECT_EQ(Complete({.dialect = dialect})->retry_notice, RetryNotice::kAtOnce);
  EXPECT_THAT(Complete({.dialect = dialect, .retry_notice = RetryNotice::kWait}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ClientStyle, ClientsThatAreKnownOtherwiseHaveZeroIds) {
  const ClientId id = *ClientId::FromBytes("0123456789abcdef");
  ClientStyle style = {.dialect = Family("B")};
  EXPECT_EQ(IdIn(RequestKind::PUBLIC_KEY, id, style, true), id);
  style.dialect.mutable_conversation()->set_zero_id(bridge::v1::Conversation::BY_NAME);
  EXPECT_EQ(IdIn(RequestKind::PUBLIC_KEY, id, style, false), ClientId());
  EXPECT_EQ(IdIn(RequestKind::RECONNECT, id, style, false), ClientId());
  EXPECT_EQ(IdIn(RequestKind::FILE, id, style, true), ClientId());
  EXPECT_EQ(IdIn(RequestKind::FILE, id, style, false), id);
}

TEST(ClientStyle, VersionIsOneOfTheDialects) {
  Dialect dialect = Family("B");
  dialect.mutable_recognition()->add_not_versions(3);
  EXPECT_EQ(Complete({.dialect = dialect})->header_version, 4);
  dialect.mutable_recognition()->add_versions(7);
  EXPECT_EQ(Complete({.dialect = dialect})->header_version, 7);
}

TEST(ClientStyle, CompleteOneStaysAsItIs) {
  const ClientStyle styles[] = {
      {},
      {.dialect = Family("A")},
      {.dialect = Family("B"), .id_in_payload = true},
      {.dialect = Family("B"), .file_style = FileStyle::kBlocks, .blocks_1024 = true},
      {.dialect = Family("C"), .file_style = FileStyle::kTruncated},
      {.dialect = Family("C"), .content_size = ContentSize::kPlaintext},
      {.dialect = Family("D"), .swap_packet_fields = true, .extra_packet = true},
      {.dialect = Family("E"), .file_style = FileStyle::kStream, .pad_packets = true},
      {.dialect = BuiltIn("a2")},
      {.dialect = BuiltIn("b3")},
      {.dialect = BuiltIn("e3")},
  };
  for (const ClientStyle& style : styles) {
    const auto once = Complete(style);
    ASSERT_OK(once);
    const auto twice = Complete(*once);
    ASSERT_OK(twice);
    EXPECT_EQ(twice->dialect.DebugString(), once->dialect.DebugString());
    EXPECT_EQ(twice->checksum_kind, once->checksum_kind);
    EXPECT_EQ(twice->connection_use, once->connection_use);
  }
}

TEST(ClientStyle, ContradictionsAreRefused) {
  const ClientStyle refused[] = {
      {.dialect = Family("D"), .file_style = FileStyle::kCounted},
      {.dialect = Family("A"), .file_style = FileStyle::kChunks},
      {.dialect = Family("C"), .packet_size = 1000},
      {.dialect = Family("B"), .extra_packet = true},
      {.dialect = Family("E"), .blocks_1024 = true},
      {.dialect = Family("A"), .file_style = FileStyle::kBlocks, .blocks_1024 = true},
      {.dialect = Family("B"), .file_style = FileStyle::kBlocks},
      {.dialect = Family("D"), .header_version = 1},
      {.file_style = FileStyle::kUncounted, .content_size = ContentSize::kPlaintext},
      {.file_style = FileStyle::kTruncated, .content_size = ContentSize::kPlaintext},
      {.dialect = Family("E"),
       .file_style = FileStyle::kStream,
       .content_size = ContentSize::kPlaintext},
      {.dialect = Family("D"), .content_size = ContentSize::kPlaintext, .pad_packets = true},
      {.dialect = Family("E"),
       .file_style = FileStyle::kStream,
       .original_size = OriginalSize::kPacket},
      {.dialect = Family("A"), .connection_use = ConnectionUse::kSingle, .blocks_1024 = true},
      {.header_version = 256},
      {.dialect = Family("B"),
       .file_style = FileStyle::kBlocks,
       .content_size = ContentSize::kPlaintext,
       .blocks_1024 = true},
      {.dialect = BuiltIn("b3"), .file_style = FileStyle::kUncounted},
      {.dialect = BuiltIn("b3"), .content_size = ContentSize::kCiphertext},
      {.dialect = BuiltIn("b3"), .connection_use = ConnectionUse::kSingle},
      {.dialect = BuiltIn("b3"), .id_in_payload = true},
      {.dialect = BuiltIn("a2"), .header_version = 3},
      {.dialect = BuiltIn("e3"), .file_style = FileStyle::kChunks},
      {.dialect = BuiltIn("e3"), .swap_packet_fields = true},
      {.dialect = BuiltIn("e3"), .extra_packet = true},
  };
  for (const ClientStyle& style : refused) {
    EXPECT_THAT(Complete(style), StatusIs(absl::StatusCode::kInvalidArgument)) << &style - refused;
  }
}

}  // namespace
}  // namespace backup::legacy_client
