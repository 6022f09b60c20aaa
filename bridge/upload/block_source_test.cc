#include "bridge/upload/block_source.h"

#include <string>
#include <vector>

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "bridge/testing/changed_dialect.h"
#include "bridge/testing/upload_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::bridge::testing::ChangedDialect;
using ::backup::bridge::testing::Segments;
using ::backup::bridge::testing::UploadFixture;
using ::backup::testing::IsOkAndHolds;
using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using ::testing::Optional;

constexpr uint16_t kFileCode = 1103;
constexpr absl::string_view kId = "0123456789abcdef";
constexpr size_t kNameSize = 255;
constexpr size_t kFieldsSize = 4 + kNameSize;
constexpr size_t kBlockSize = 1024;
constexpr size_t kFirstSize = 736;  // As much as goes into the first message.

std::string Filled(std::string message) {
  message.resize((message.size() + kBlockSize - 1) / kBlockSize * kBlockSize, '\xFE');
  return message;
}

// The first message of a file, without padding.
std::string First(uint32_t content_size, absl::string_view content) {
  std::string name = "a.bin";
  name.resize(kNameSize);
  return wire::ByteWriter()
      .Bytes(kId)
      .U8(3)
      .U16(kFileCode)
      .U32(static_cast<uint32_t>(kFieldsSize + content.size()))
      .U32(content_size)
      .Bytes(name)
      .Bytes(content)
      .Take();
}

class BlockSourceTest : public UploadFixture {
 protected:
  // Cuts `content` into blocks.
  static std::vector<std::string> Blocks(const std::string& content) {
    std::vector<std::string> blocks = {content.substr(0, kFirstSize)};
    for (size_t begin = kFirstSize; begin < content.size(); begin += kBlockSize)
      blocks.push_back(content.substr(begin, kBlockSize));
    return blocks;
  }
  // The whole file as such a client sends it.
  static std::string Messages(const std::string& content) {
    const std::vector<std::string> blocks = Blocks(content);
    std::string bytes = Filled(First(static_cast<uint32_t>(content.size()), blocks[0]));
    for (size_t i = 1; i < blocks.size(); ++i) bytes += Filled(blocks[i]);
    return bytes;
  }

  const wire::Dialect dialect_ = ChangedDialect("A/B");
};

TEST_F(BlockSourceTest, EachBlockIsASegment) {
  // The last: as recorded, full, and as small as can be.
  for (const size_t size : {3056, 736 + 1024, 736 + 3 * 1024, 752}) {
    SCOPED_TRACE(size);
    const std::string content = PseudoRandomBytes(size);
    EXPECT_THAT(ReadFile(dialect_, Messages(content)), IsOkAndHolds(Segments(Blocks(content))));
    EXPECT_THAT(content_.segment_count, Optional(static_cast<int>(Blocks(content).size())));
    EXPECT_EQ(content_.size, 0u);
    EXPECT_TRUE(content_.is_padded);
    EXPECT_EQ(content_.body->received_bytes() % kBlockSize, kBlockSize - 23 - kFieldsSize);
  }
}

TEST_F(BlockSourceTest, LeavesWhatFollowsTheLastBlockAlone) {
  const std::string content = PseudoRandomBytes(3056);
  EXPECT_THAT(ReadFile(dialect_, Messages(content) + "next"),
              IsOkAndHolds(Segments(Blocks(content))));
  EXPECT_EQ(Following(4), "next");
}

TEST_F(BlockSourceTest, CarriesALargeFile) {
  const std::string content = PseudoRandomBytes(4'000'000 / 16 * 16);
  EXPECT_THAT(ReadFile(dialect_, Messages(content)), IsOkAndHolds(Segments(Blocks(content))));
}

TEST_F(BlockSourceTest, WhoFillsTheLastBlockFillsTheFirstMessageWhateverIsKnown) {
  const std::string content = PseudoRandomBytes(3056);
  EXPECT_THAT(ReadFile(dialect_, Messages(content) + "next", /*pads=*/false),
              IsOkAndHolds(Segments(Blocks(content))));
  EXPECT_TRUE(content_.is_padded);
  EXPECT_EQ(Following(4), "next");
}

TEST_F(BlockSourceTest, TheLastBlockNeedNotBeFilled) {
  const std::string content = PseudoRandomBytes(kFirstSize + 1040);
  const std::string bytes =
      First(kFirstSize + 1040, content.substr(0, kFirstSize)) + content.substr(kFirstSize) + "next";
  EXPECT_THAT(ReadFile(ChangedDialect("A/B", {{" last_is_filled: true", ""}}), bytes),
              IsOkAndHolds(Segments(Blocks(content))));
  EXPECT_FALSE(content_.is_padded);
  EXPECT_EQ(Following(4), "next");
}

TEST_F(BlockSourceTest, NoPrefixIsAFile) {
  const std::string bytes = Messages(PseudoRandomBytes(kFirstSize + 1040));
  for (size_t size = 0; size < bytes.size(); size += size < 1200 ? 1 : 37) {
    ASSERT_THAT(ReadFile(dialect_, bytes.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss))
        << size;
  }
}

TEST_F(BlockSourceTest, ManyMoreBlocksThanCanBeCountedAreAsManyAsCome) {
  const std::string first = std::string(kFirstSize, 'a');
  EXPECT_THAT(ReadFile(dialect_, Filled(First(0xFFFFFFF0, first)) + "stops"),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(content_.segment_count, Optional(0));
}

TEST_F(BlockSourceTest, GivesUpOnAClientThatSendsNoMore) {
  limits_.window = absl::Milliseconds(100);
  PeerSends(Filled(First(3056, std::string(kFirstSize, 'a'))));
  EXPECT_THAT(ReadSent(dialect_, std::nullopt), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace backup::bridge
