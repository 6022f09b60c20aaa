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
using bridge::v1::Field;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kPayloadSizeAt = 19;
constexpr size_t kPayloadAt = 23;

uint32_t IntegerAt(absl::string_view bytes, size_t at, size_t size) {
  uint32_t value = 0;
  for (size_t i = size; i > 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i - 1]);
  return value;
}

Dialect Family(absl::string_view family) { return FamilyDialect(family).value(); }

// A plan and what it needs.
struct Planned {
  std::unique_ptr<Frames> frames;
  FilePlan plan;
};

absl::StatusOr<Planned> Plan(const ClientStyle& style, int64_t plaintext_size) {
  const ClientStyle complete = Complete(style).value();
  auto frames = std::make_unique<Frames>(complete.dialect, FrameStyleOf(complete));
  auto plan = FilePlan::Make(complete, *frames, {ClientId(), "f", plaintext_size});
  if (!plan.ok()) return plan.status();
  return Planned{std::move(frames), *std::move(plan)};
}

std::vector<FilePart> PartsOf(const FilePlan& plan) {
  std::vector<FilePart> parts;
  while (auto part = plan.Part(static_cast<int64_t>(parts.size()))) parts.push_back(*part);
  return parts;
}

std::vector<FilePart> Parts(const ClientStyle& style, int64_t plaintext_size) {
  return PartsOf(Plan(style, plaintext_size)->plan);
}

// What the first request says: payload size, content size.
std::vector<uint32_t> Claims(const ClientStyle& style, int64_t plaintext_size) {
  const FilePart part = Parts(style, plaintext_size).at(0);
  // Family A has its id in front.
  const bool has_id = !FileRequestOf(style.dialect).fields(0).may_be_missing() &&
                      FileRequestOf(style.dialect).fields(0).kind() == Field::CLIENT_ID;
  return {IntegerAt(part.head, kPayloadSizeAt, 4),
          IntegerAt(part.head, kPayloadAt + (has_id ? 16 : 0), 4)};
}

TEST(WholeFile, ClaimsWhatItsStyleSays) {
  EXPECT_THAT(Claims({.dialect = Family("B")}, 3000), ElementsAre(259u + 3008, 3008u));
  EXPECT_THAT(Claims({.dialect = Family("A")}, 3000), ElementsAre(275u + 3008, 3008u));
  EXPECT_THAT(Claims({.file_style = FileStyle::kUncounted}, 3000), ElementsAre(259u, 3008u));
  EXPECT_THAT(Claims({.content_size = ContentSize::kPlaintext}, 3000),
              ElementsAre(259u + 3008, 3000u));
}

TEST(WholeFile, PayloadSizeIsCutAtItsFirstZeroByte) {
  const ClientStyle style = {.dialect = Family("A"), .file_style = FileStyle::kTruncated};
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
  EXPECT_THAT(std::string(Plan(uncounted, largest + 1).status().message()),
              HasSubstr("CONTENT_SIZE must be less than 4 GiB"));
}

TEST(Blocks, FollowTheFirstMessageBare) {
  const ClientStyle style = {
      .dialect = Family("B"), .file_style = FileStyle::kBlocks, .blocks_1024 = true};
  const std::vector<FilePart> parts = Parts(style, 3000);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0].head.size(), 282u);
  EXPECT_EQ(IntegerAt(parts[0].head, kPayloadSizeAt, 4), 259u + 736);
  EXPECT_EQ(IntegerAt(parts[0].head, kPayloadAt, 4), 3056u);
  EXPECT_EQ(parts[0].content_size, 736);
  EXPECT_EQ(parts[0].padding_size, 6);
  for (size_t i : {1, 2}) {
    EXPECT_EQ(parts[i].head, "");
    EXPECT_EQ(parts[i].content_size, 1024);
    EXPECT_EQ(parts[i].padding_size, 0);
  }
  EXPECT_EQ(parts[3].content_size, 272);
  EXPECT_EQ(parts[3].padding_size, 1024 - 272);
}

TEST(Blocks, FileThatFitsIntoTheFirstMessageIsOne) {
  const ClientStyle style = {
      .dialect = Family("B"), .file_style = FileStyle::kBlocks, .blocks_1024 = true};
  EXPECT_EQ(Parts(style, 0).size(), 1u);
  EXPECT_EQ(Parts(style, 720).size(), 1u);
  EXPECT_THAT(Claims(style, 720), ElementsAre(259u + 736, 736u));
  EXPECT_EQ(Parts(style, 721).size(), 2u);
  EXPECT_THAT(Claims(style, 721), ElementsAre(259u + 736, 736u + 16));
  EXPECT_EQ(Parts(style, 720 + 1008).size(), 2u);
  EXPECT_EQ(Parts(style, 720 + 1009).size(), 3u);
}

TEST(Blocks, WithoutPaddingTheFirstIsAsLargeAsTheOthers) {
  ClientStyle style = {.dialect = Family("B"), .file_style = FileStyle::kBlocks};
  style.dialect.clear_padding();
  auto& blocks =
      *FindRequest(style.dialect, RequestKind::FILE)->mutable_content()->mutable_blocks();
  blocks.set_size(64);
  blocks.set_last_is_filled(false);
  const std::vector<FilePart> parts = Parts(style, 48 + 10);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].content_size, 64);
  EXPECT_EQ(parts[1].content_size, 16);
  EXPECT_EQ(parts[1].padding_size, 0);
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
  ClientStyle style = {.dialect = Family("D"), .packet_size = 1000};
  std::vector<FilePart> parts = Parts(style, 2500);
  EXPECT_THAT(Sizes(parts), ElementsAre(Pair(1008, 0), Pair(1008, 0), Pair(512, 0)));
  EXPECT_THAT(Fields(parts[2]), ElementsAre(512u, 2500u, 3u, 3u));
  style.content_size = ContentSize::kPlaintext;
  style.original_size = OriginalSize::kPacket;
  EXPECT_THAT(Fields(Parts(style, 2500)[2]), ElementsAre(500u, 500u, 3u, 3u));
}

TEST(Packets, SlicesAllNameTheWholeCiphertext) {
  const ClientStyle style = {
      .dialect = Family("E"), .file_style = FileStyle::kStream, .packet_size = 1000};
  const std::vector<FilePart> parts = Parts(style, 2500);
  EXPECT_THAT(Sizes(parts), ElementsAre(Pair(1000, 0), Pair(1000, 0), Pair(512, 0)));
  for (const FilePart& part : parts) EXPECT_EQ(Fields(part)[0], 2512u);
}

TEST(Packets, MayBePaddedAndFollowedByOneMore) {
  ClientStyle style = {.dialect = Family("E"),
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
  EXPECT_THAT(Sizes(Parts({.dialect = Family("D")}, 0)), ElementsAre(Pair(16, 0)));
}

TEST(Packets, AreNotMoreThanTheirNumberCanSay) {
  const ClientStyle style = {.dialect = Family("D"), .packet_size = 1};
  EXPECT_OK(Plan(style, 65534));
  EXPECT_THAT(Plan(style, 65535), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(FileRequest, WeavesHeadsContentAndPadding) {
  const ClientStyle style = {.dialect = Family("E"),
                             .file_style = FileStyle::kStream,
                             .packet_size = 20,
                             .pad_packets = true};
  const auto planned = Plan(style, 40);
  ASSERT_OK(planned);
  const FilePlan& plan = planned->plan;
  const std::string content = std::string(24, 'x') + std::string(24, 'y');
  for (const size_t piece_size : {1, 7, 48}) {
    StringSource source(content, piece_size);
    FileRequest request(plan, source);
    StringSink sink;
    ASSERT_OK(CopyAll(request, sink));
    const std::vector<FilePart> parts = PartsOf(plan);
    EXPECT_EQ(sink.bytes(), absl::StrCat(parts[0].head, content.substr(0, 20), parts[1].head,
                                         content.substr(20, 20), parts[2].head, content.substr(40),
                                         std::string(12, '\0')));
    EXPECT_EQ(request.content_taken(), 48);
  }
}

// What else a description may say of a file, each with the smallest change of the dialect.
class OddFile : public ::testing::Test {
 protected:
  bridge::v1::Request& file() { return *FindRequest(style_.dialect, RequestKind::FILE); }
  bridge::v1::FileContent& content() { return *file().mutable_content(); }
  std::vector<FilePart> PartsOfSize(int64_t size) const { return Parts(style_, size); }

  ClientStyle style_ = {.dialect = Family("B")};
};

TEST_F(OddFile, PayloadSizeMayCountLessOrMore) {
  file().set_uncounted_bytes(4);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 16 - 4, 16u));
  file().set_uncounted_bytes(-23);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 16 + 23, 16u));
  file().set_uncounted_bytes(300);
  EXPECT_THAT(std::string(Plan(style_, 10).status().message()),
              HasSubstr("has less than the 300 bytes that its request does not count"));
  EXPECT_OK(Plan(style_, 100));
}

TEST_F(OddFile, ContentSizeMayCountItself) {
  content().set_content_size_excess(4);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 16, 20u));
}

TEST_F(OddFile, ContentMayBeText) {
  content().set_content_size_counts(bridge::v1::FileContent::WIRE);
  content().set_text(bridge::v1::HEX);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 32, 32u));
  content().set_text(bridge::v1::BASE64);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 24, 24u));
  content().set_content_size_counts(bridge::v1::FileContent::CIPHERTEXT);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 24, 16u));
}

TEST_F(OddFile, ByContentSizeThePayloadSizeLies) {
  content().set_length(bridge::v1::FileContent::BY_CONTENT_SIZE);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u, 16u));
}

TEST_F(OddFile, VectorsAndPiecesCount) {
  auto& cryptography = *style_.dialect.mutable_cryptography();
  cryptography.set_initial_vector(bridge::v1::Cryptography::IN_FRONT);
  EXPECT_THAT(Claims(style_, 10), ElementsAre(259u + 32, 32u));
  content().clear_blocks();
  content().set_encrypted_piece_size(48);  // Each has a vector, 16 bytes of plaintext and padding.
  EXPECT_THAT(Claims(style_, 33), ElementsAre(259u + 48 + 48 + 32, 128u));
  cryptography.set_padding(bridge::v1::Cryptography::ZEROS);  // 32 bytes of plaintext.
  EXPECT_THAT(Claims(style_, 33), ElementsAre(259u + 48 + 32, 80u));
}

TEST_F(OddFile, SmallFieldsHaveNoRoomForLargeFiles) {
  file().mutable_fields(1)->set_width(2);
  EXPECT_OK(Plan(style_, 0xFFE0));
  EXPECT_THAT(Plan(style_, 0xFFF0), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(Plan(style_, 0xFFF0).status().message()),
              HasSubstr("CONTENT_SIZE must be less than 64 KiB"));
}

TEST_F(OddFile, MessagesMayBePaddedWithoutBlocks) {
  style_.blocks_1024 = true;
  EXPECT_EQ(PartsOfSize(3000)[0].padding_size, 4096 - 282 - 3008);
}

TEST_F(OddFile, PacketsMayHaveOneHeader) {
  style_ = {.dialect = BuiltInDialect("e3").value(), .packet_size = 1024};
  const std::vector<FilePart> parts = PartsOfSize(3000);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].head.size(), 23u + 267);
  EXPECT_EQ(parts[1].head.size(), 267u);
  EXPECT_EQ(parts[2].content_size, 3024 - 2048);
  EXPECT_EQ(parts[2].padding_size, 1024 - (3024 - 2048));
  EXPECT_EQ(PartsOfSize(1)[0].padding_size, 1024 - 32);
}

}  // namespace
}  // namespace backup::legacy_client
