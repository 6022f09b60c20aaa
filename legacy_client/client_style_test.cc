#include "legacy_client/client_style.h"

#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;

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
  for (const Family family : {Family::kA, Family::kB, Family::kD, Family::kE}) {
    const auto style = Complete({.family = family});
    ASSERT_OK(style);
    EXPECT_EQ(style->header_version, 3);
    EXPECT_EQ(style->checksum_kind, ChecksumKind::kCksumOfPlaintext);
    EXPECT_EQ(style->connection_use, ConnectionUse::kSingle);
    EXPECT_EQ(style->retry_notice, RetryNotice::kAtOnce);
  }
  EXPECT_EQ(
      Complete({.family = Family::kA, .content_size = ContentSize::kPlaintext})->checksum_kind,
      ChecksumKind::kCrc32OfPlaintext);
}

TEST(ClientStyle, BlocksOfVersion3NeedAConnectionForEach) {
  EXPECT_EQ(Complete({.family = Family::kB, .blocks_1024 = true})->connection_use,
            ConnectionUse::kPerRequest);
  EXPECT_EQ(
      Complete({.family = Family::kB, .header_version = 2, .blocks_1024 = true})->connection_use,
      ConnectionUse::kSingle);
}

TEST(ClientStyle, ContradictionsAreRefused) {
  const ClientStyle refused[] = {
      {.family = Family::kD, .file_style = FileStyle::kCounted},
      {.family = Family::kA, .file_style = FileStyle::kChunks},
      {.family = Family::kC, .packet_size = 1000},
      {.family = Family::kB, .extra_packet = true},
      {.family = Family::kE, .blocks_1024 = true},
      {.family = Family::kA, .file_style = FileStyle::kBlocks, .blocks_1024 = true},
      {.family = Family::kB, .file_style = FileStyle::kBlocks},
      {.family = Family::kD, .header_version = 1},
      {.file_style = FileStyle::kUncounted, .content_size = ContentSize::kPlaintext},
      {.file_style = FileStyle::kTruncated, .content_size = ContentSize::kPlaintext},
      {.family = Family::kE,
       .file_style = FileStyle::kStream,
       .content_size = ContentSize::kPlaintext},
      {.family = Family::kD, .content_size = ContentSize::kPlaintext, .pad_packets = true},
      {.family = Family::kE,
       .file_style = FileStyle::kStream,
       .original_size = OriginalSize::kPacket},
      {.family = Family::kA, .connection_use = ConnectionUse::kSingle, .blocks_1024 = true},
      {.connection_use = ConnectionUse::kPerRequest, .retry_notice = RetryNotice::kAtOnce},
  };
  for (const ClientStyle& style : refused) {
    EXPECT_THAT(Complete(style), StatusIs(absl::StatusCode::kInvalidArgument)) << &style - refused;
  }
}

}  // namespace
}  // namespace backup::legacy_client
