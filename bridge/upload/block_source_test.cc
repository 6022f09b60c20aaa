#include "bridge/upload/block_source.h"

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/byte_writer.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::testing::ElementsAre;

constexpr uint16_t kFileCode = 1103;
constexpr uint16_t kValidCode = 1104;
constexpr absl::string_view kId = "0123456789abcdef";
constexpr size_t kFieldsSize = 4 + wire::kNameFieldSize;

// One block of a file of family B.
struct BlockText {
  uint32_t content_size = 0;
  std::string body;
  std::string name = "a.bin";
};

std::string Encode(const BlockText& block) {
  std::string name = block.name;
  name.resize(wire::kNameFieldSize);
  return wire::ByteWriter()
      .Bytes(kId)
      .U8(3)
      .U16(kFileCode)
      .U32(static_cast<uint32_t>(kFieldsSize + block.body.size()))
      .U32(block.content_size)
      .Bytes(name)
      .Bytes(block.body)
      .Take();
}

std::string Segment(const std::string& content) {
  return wire::ByteWriter().U32(static_cast<uint32_t>(content.size())).Bytes(content).Take();
}

MATCHER_P(BreaksTheRule, rule, "") {
  return absl::IsInvalidArgument(arg.status()) && absl::StrContains(arg.status().message(), rule);
}

// Sends blocks to a connection and reads the file that they make.
class BlockSourceTest : public ::testing::Test {
 protected:
  BlockSourceTest() {
    int fds[2];
    CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[1]);
    connection_ = std::make_unique<Connection>(UniqueFd(fds[0]), "peer", 1);
    limits_.window = absl::Seconds(20);
  }

  // The client goes on holding the connection, and says nothing more.
  absl::StatusOr<std::string> ReadFile(const std::vector<BlockText>& blocks,
                                       const std::string& after = "",
                                       absl::Duration patience = absl::Milliseconds(1)) {
    std::string bytes;
    for (const BlockText& block : blocks) bytes += Encode(block);
    bytes += after;
    CHECK_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
             static_cast<ssize_t>(bytes.size()));
    const wire::Dialect& dialect = *wire::FindDialectByName("A/B");
    CHECK(
        connection_->WaitForBuffered(wire::kRequestHeaderSize + kFieldsSize, limits_.window).ok());
    const auto head = dialect.DecodeHead(connection_->buffered()).value().value();
    CHECK(std::get<wire::SendFile>(head.request.operation).is_block);
    connection_->Consume(head.head_size);
    BlockSource source(
        *connection_, dialect, head, limits_, budget_,
        [&](uint64_t size) { request_sizes_.push_back(size); }, patience);
    auto content = ReadAll(source, 1 << 20);
    EXPECT_TRUE(!content.ok() || source.left() == 0);
    return content;
  }

  std::string LeftOver() {
    static_cast<void>(connection_->ReadAhead(1 << 20));
    return std::string(connection_->buffered());
  }

  BodyLimits limits_;
  BodyBudget budget_;
  UniqueFd peer_;
  std::unique_ptr<Connection> connection_;
  std::vector<uint64_t> request_sizes_;
};

const std::string kA(48, 'a');
const std::string kB(48, 'b');
const std::string kC(16, 'c');
const std::string kVerdict = wire::ByteWriter()
                                 .Bytes(kId)
                                 .U8(3)
                                 .U16(kValidCode)
                                 .U32(wire::kNameFieldSize)
                                 .Bytes(std::string(wire::kNameFieldSize, 'n'))
                                 .Take();

TEST_F(BlockSourceTest, EachBlockIsASegment) {
  constexpr uint32_t kSize = 48 + 48 + 16;
  EXPECT_THAT(ReadFile({{kSize, kA}, {kSize, kB}, {kSize, kC}}),
              IsOkAndHolds(Segment(kA) + Segment(kB) + Segment(kC)));
}

TEST_F(BlockSourceTest, ItsSizeMayBeThatOfThePlaintext) {
  for (uint32_t size : {32 + 32 + 1, 47 + 47 + 0, 47 + 47 + 15}) {
    SCOPED_TRACE(size);
    EXPECT_THAT(ReadFile({{size, kA}, {size, kB}, {size, kC}}),
                IsOkAndHolds(Segment(kA) + Segment(kB) + Segment(kC)));
  }
}

TEST_F(BlockSourceTest, EndsWithAFullBlockIfSizesSayThatItIsTheLast) {
  const std::string next = Encode({64, kC});
  EXPECT_THAT(ReadFile({{64, kA}, {64, kB}}, next, absl::InfiniteDuration()),
              IsOkAndHolds(Segment(kA) + Segment(kB)));
  EXPECT_EQ(LeftOver(), next);
}

TEST_F(BlockSourceTest, EndsWithAFullBlockIfNothingMoreComes) {
  for (uint32_t size : {65, 94, 96}) {
    SCOPED_TRACE(size);
    EXPECT_THAT(ReadFile({{size, kA}, {size, kB}}), IsOkAndHolds(Segment(kA) + Segment(kB)));
  }
}

TEST_F(BlockSourceTest, EndsWithAFullBlockIfSomethingElseFollows) {
  EXPECT_THAT(ReadFile({{94, kA}, {94, kB}}, kVerdict, absl::InfiniteDuration()),
              IsOkAndHolds(Segment(kA) + Segment(kB)));
  EXPECT_EQ(LeftOver(), kVerdict);
}

TEST_F(BlockSourceTest, EndsWithAFullBlockIfAnotherFileFollows) {
  const std::string next = Encode({94, kA, "b.bin"});
  EXPECT_THAT(ReadFile({{94, kA}, {94, kB}}, next, absl::InfiniteDuration()),
              IsOkAndHolds(Segment(kA) + Segment(kB)));
  EXPECT_EQ(LeftOver(), next);
}

TEST_F(BlockSourceTest, GoesOnIfSizesAllowItAndABlockFollows) {
  // Of 32 bytes of plaintext each: 48 + 48 is the whole size, but not the whole file.
  EXPECT_THAT(ReadFile({{96, kA}, {96, kB}, {96, kA}}, "", absl::InfiniteDuration()),
              IsOkAndHolds(Segment(kA) + Segment(kB) + Segment(kA)));
}

TEST_F(BlockSourceTest, TellsTheSizeOfEachRequestForItsPadding) {
  EXPECT_THAT(ReadFile({{64, kA}, {64, kC}}), IsOkAndHolds(Segment(kA) + Segment(kC)));
  EXPECT_THAT(request_sizes_, ElementsAre(23 + 259 + 48, 23 + 259 + 16));
}

TEST_F(BlockSourceTest, RefusesABlockLargerThanTheFirst) {
  EXPECT_THAT(ReadFile({{90, kC}, {90, kA}}),
              BreaksTheRule("a block of 48 bytes comes after those of 16"));
}

TEST_F(BlockSourceTest, RefusesAShortBlockBeforeTheLast) {
  EXPECT_THAT(ReadFile({{200, kA}, {200, kC}, {200, kA}}),
              BreaksTheRule("after 64 of 200 bytes comes a block that is not full"));
}

TEST_F(BlockSourceTest, RefusesAnotherContentSize) {
  EXPECT_THAT(ReadFile({{200, kA}, {201, kA}}), BreaksTheRule("another size of the file"));
}

TEST_F(BlockSourceTest, RefusesWhatComesBetween) {
  EXPECT_THAT(ReadFile({{200, kA}}, kVerdict), BreaksTheRule("1104 comes between"));
}

TEST_F(BlockSourceTest, RefusesABlockOfAnotherFile) {
  EXPECT_THAT(ReadFile({{200, kA}, {200, kB, "b.bin"}}), BreaksTheRule("b.bin comes between"));
}

}  // namespace
}  // namespace backup::bridge
