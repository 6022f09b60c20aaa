#include "legacy_client/file_plan.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "legacy_client/cipher.h"
#include "legacy_client/file_request.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;
using ::testing::ElementsAre;

constexpr size_t kPayloadSizeAt = 19;
constexpr size_t kPayloadAt = 23;

uint32_t IntegerAt(absl::string_view bytes, size_t at, size_t size) {
  uint32_t value = 0;
  for (size_t i = size; i > 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i - 1]);
  return value;
}

absl::StatusOr<std::unique_ptr<FilePlan>> Plan(ClientStyle style, int64_t plaintext_size) {
  const ClientStyle complete = Complete(style).value();
  const Sender sender = {ClientId(), *complete.header_version, complete.family};
  return MakeFilePlan(complete, {sender, "f", plaintext_size});
}

std::vector<FilePart> PartsOf(const FilePlan& plan) {
  std::vector<FilePart> parts;
  while (auto part = plan.Part(static_cast<int64_t>(parts.size()))) parts.push_back(*part);
  return parts;
}

std::vector<FilePart> Parts(const ClientStyle& style, int64_t plaintext_size) {
  return PartsOf(*Plan(style, plaintext_size).value());
}

// What the first request says: payload size, content size.
std::vector<uint32_t> Claims(const ClientStyle& style, int64_t plaintext_size) {
  const FilePart part = Parts(style, plaintext_size).at(0);
  const size_t content_size_at = kPayloadAt + (style.family == Family::kA ? 16 : 0);
  return {IntegerAt(part.head, kPayloadSizeAt, 4), IntegerAt(part.head, content_size_at, 4)};
}

TEST(WholeFile, ClaimsWhatItsStyleSays) {
  EXPECT_THAT(Claims({.family = Family::kB}, 3000), ElementsAre(259u + 3008, 3008u));
  EXPECT_THAT(Claims({.family = Family::kA}, 3000), ElementsAre(275u + 3008, 3008u));
  EXPECT_THAT(Claims({.file_style = FileStyle::kUncounted}, 3000), ElementsAre(259u, 3008u));
  EXPECT_THAT(Claims({.content_size = ContentSize::kPlaintext}, 3000),
              ElementsAre(259u + 3008, 3000u));
}

TEST(WholeFile, PayloadSizeIsCutAtItsFirstZeroByte) {
  const ClientStyle style = {.family = Family::kA, .file_style = FileStyle::kTruncated};
  EXPECT_THAT(Claims(style, 3000), ElementsAre(275u + 3008, 3008u));
  // 275 + 65264 = 0x010003: one byte is left. 275 + 65536 = 0x010113: all of it is.
  EXPECT_THAT(Claims(style, 65263), ElementsAre(3u, 65264u));
  EXPECT_THAT(Claims(style, 65535), ElementsAre(0x010113u, 65536u));
  // 0x01000113: what is left looks like no content, so the content size decides.
  EXPECT_THAT(Claims(style, (1 << 24) - 1), ElementsAre(0x0113u, 1u << 24));
  // 0x01000123 would read as a content of 16 bytes.
  EXPECT_THAT(Plan(style, 1 << 24), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WholeFile, HasNoRoomBeyond4GiB) {
  const ClientStyle counted;
  const ClientStyle uncounted = {.file_style = FileStyle::kUncounted};
  const int64_t largest = (int64_t{1} << 32) - 17;  // A ciphertext of 2^32 - 16.
  EXPECT_OK(Plan(uncounted, largest));
  EXPECT_THAT(Plan(uncounted, largest + 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(Plan(counted, largest - 272));
  EXPECT_THAT(Plan(counted, largest), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Blocks, EachFillsOneMessageOf1024Bytes) {
  ClientStyle style = {.family = Family::kB, .file_style = FileStyle::kBlocks, .blocks_1024 = true};
  std::vector<FilePart> parts = Parts(style, 735 + 700);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].content_size, 736);
  EXPECT_EQ(parts[1].content_size, 704);
  for (const FilePart& part : parts) {
    EXPECT_EQ(static_cast<int64_t>(part.head.size()) + part.content_size + part.padding_size, 1024);
    EXPECT_EQ(IntegerAt(part.head, kPayloadSizeAt, 4), 259 + part.content_size);
    EXPECT_EQ(IntegerAt(part.head, kPayloadAt, 4), 736u + 704);
  }
  style.content_size = ContentSize::kPlaintext;
  EXPECT_THAT(Claims(style, 2 * 735), ElementsAre(259u + 736, 2u * 735));
  EXPECT_EQ(Parts(style, 2 * 735).size(), 2u);
  EXPECT_THAT(Claims(style, 0), ElementsAre(259u + 16, 0u));
}

// Content and padding of each part.
std::vector<std::pair<int64_t, int64_t>> Sizes(const std::vector<FilePart>& parts) {
  std::vector<std::pair<int64_t, int64_t>> sizes;
  for (const FilePart& part : parts) {
    sizes.emplace_back(part.content_size, part.padding_size);
    EXPECT_EQ(IntegerAt(part.head, kPayloadSizeAt, 4), 267 + part.content_size + part.padding_size);
  }
  return sizes;
}

// Content size, original size and the two numbers of a packet.
std::vector<uint32_t> Fields(const FilePart& part) {
  return {IntegerAt(part.head, kPayloadAt, 4), IntegerAt(part.head, kPayloadAt + 4, 4),
          IntegerAt(part.head, kPayloadAt + 8, 2), IntegerAt(part.head, kPayloadAt + 10, 2)};
}

using Pair = std::pair<int64_t, int64_t>;

TEST(Packets, ChunksHaveTheirOwnPadding) {
  ClientStyle style = {.family = Family::kD, .packet_size = 1000};
  std::vector<FilePart> parts = Parts(style, 2500);
  EXPECT_THAT(Sizes(parts), ElementsAre(Pair(1008, 0), Pair(1008, 0), Pair(512, 0)));
  EXPECT_THAT(Fields(parts[2]), ElementsAre(512u, 2500u, 3u, 3u));
  style.content_size = ContentSize::kPlaintext;
  style.original_size = OriginalSize::kPacket;
  EXPECT_THAT(Fields(Parts(style, 2500)[2]), ElementsAre(500u, 500u, 3u, 3u));
}

TEST(Packets, SlicesAllNameTheWholeCiphertext) {
  const ClientStyle style = {
      .family = Family::kE, .file_style = FileStyle::kStream, .packet_size = 1000};
  const std::vector<FilePart> parts = Parts(style, 2500);
  EXPECT_THAT(Sizes(parts), ElementsAre(Pair(1000, 0), Pair(1000, 0), Pair(512, 0)));
  for (const FilePart& part : parts) EXPECT_EQ(Fields(part)[0], 2512u);
}

TEST(Packets, MayBePaddedAndFollowedByOneMore) {
  ClientStyle style = {.family = Family::kE,
                       .packet_size = 1000,
                       .swap_packet_fields = true,
                       .extra_packet = true,
                       .pad_packets = true};
  std::vector<FilePart> parts = Parts(style, 1500);
  EXPECT_THAT(Sizes(parts), ElementsAre(Pair(1008, 0), Pair(512, 496), Pair(0, 1008)));
  EXPECT_THAT(Fields(parts[0]), ElementsAre(1008u, 1500u, 2u, 1u));
  EXPECT_THAT(Fields(parts[2]), ElementsAre(16u, 1500u, 2u, 3u));
  style.file_style = FileStyle::kStream;
  EXPECT_THAT(Sizes(Parts(style, 1500)), ElementsAre(Pair(1000, 0), Pair(504, 496), Pair(0, 1000)));
  style.pad_packets = false;
  EXPECT_THAT(Sizes(Parts(style, 1500)), ElementsAre(Pair(1000, 0), Pair(504, 0), Pair(0, 16)));
}

TEST(Packets, AnEmptyFileIsOne) {
  EXPECT_THAT(Sizes(Parts({.family = Family::kD}, 0)), ElementsAre(Pair(16, 0)));
}

TEST(Packets, AreNotMoreThanTheirNumberCanSay) {
  const ClientStyle style = {.family = Family::kD, .packet_size = 1};
  EXPECT_OK(Plan(style, 65534));
  EXPECT_THAT(Plan(style, 65535), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(FileRequest, WeavesHeadsContentAndPadding) {
  const ClientStyle style = {.family = Family::kE,
                             .file_style = FileStyle::kStream,
                             .packet_size = 20,
                             .pad_packets = true};
  const auto plan = Plan(style, 40);
  ASSERT_OK(plan);
  const std::string content = std::string(24, 'x') + std::string(24, 'y');
  for (const size_t piece_size : {1, 7, 48}) {
    StringSource source(content, piece_size);
    FileRequest request(**plan, source);
    StringSink sink;
    ASSERT_OK(CopyAll(request, sink));
    const std::vector<FilePart> parts = PartsOf(**plan);
    EXPECT_EQ(sink.bytes(), absl::StrCat(parts[0].head, content.substr(0, 20), parts[1].head,
                                         content.substr(20, 20), parts[2].head, content.substr(40),
                                         std::string(12, '\0')));
    EXPECT_EQ(request.content_taken(), 48);
  }
}

}  // namespace
}  // namespace backup::legacy_client
