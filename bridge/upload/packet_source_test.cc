#include "bridge/upload/packet_source.h"

#include <sys/socket.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/byte_writer.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::backup::testing::StatusIs;
using ::testing::HasSubstr;

constexpr uint16_t kFileCode = 828;
constexpr absl::string_view kId = "0123456789abcdef";

// One packet of family E; by default a whole file of 32 bytes.
struct PacketText {
  uint32_t content_size = 32;
  uint32_t original_size = 20;
  uint16_t number = 1;
  uint16_t total = 1;
  std::string body = std::string(32, 'a');
  std::string name = "a.bin";
  uint16_t code = kFileCode;
  std::string id = std::string(kId);
};

std::string Encode(const PacketText& packet) {
  std::string name = packet.name;
  name.resize(wire::kNameFieldSize);
  const std::string payload = wire::ByteWriter()
                                  .U32(packet.content_size)
                                  .U32(packet.original_size)
                                  .U16(packet.number)
                                  .U16(packet.total)
                                  .Bytes(name)
                                  .Bytes(packet.body)
                                  .Take();
  return wire::ByteWriter()
      .Bytes(packet.id)
      .U8(3)
      .U16(packet.code)
      .U32(static_cast<uint32_t>(payload.size()))
      .Bytes(payload)
      .Take();
}

std::string Segment(const std::string& content) {
  return wire::ByteWriter().U32(static_cast<uint32_t>(content.size())).Bytes(content).Take();
}

// Sends packets to a connection and reads the file that they make.
class PacketSourceTest : public ::testing::Test {
 protected:
  PacketSourceTest() { SetUpAgain(); }

  // A new connection.
  void SetUpAgain() {
    int fds[2];
    CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[1]);
    connection_ = std::make_unique<Connection>(UniqueFd(fds[0]), "peer", 1);
    limits_.window = absl::Seconds(20);
  }

  absl::StatusOr<std::string> ReadFile(const std::vector<PacketText>& packets,
                                       const std::string& after = "") {
    std::string bytes;
    for (const PacketText& packet : packets) bytes += Encode(packet);
    bytes += after;
    CHECK_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
             static_cast<ssize_t>(bytes.size()));
    ::shutdown(peer_.get(), SHUT_WR);
    const wire::Dialect& dialect = *wire::FindDialectByName("E");
    CHECK(connection_->WaitForBuffered(wire::kRequestHeaderSize + 267, limits_.window).ok());
    const auto head = dialect.DecodeHead(connection_->buffered()).value().value();
    connection_->Consume(head.head_size);
    const auto& file = std::get<wire::SendFile>(head.request.operation);
    const absl::StatusOr<PacketOrder> order = PacketOrder::OfFirst(*file.packet);
    if (!order.ok()) return order.status();
    PacketSource source(*connection_, dialect, head, *order, limits_, budget_);
    segment_count_ = source.segment_count();
    stream_size_ = source.stream_size();
    auto content = ReadAll(source, 1 << 20);
    EXPECT_TRUE(!content.ok() || source.left() == 0);
    return content;
  }

  BodyLimits limits_;
  BodyBudget budget_;
  UniqueFd peer_;
  std::unique_ptr<Connection> connection_;
  std::optional<int> segment_count_;
  uint64_t stream_size_ = 0;
};

const std::string kA(32, 'a');
const std::string kB(32, 'b');
const std::string kC(16, 'c');

TEST_F(PacketSourceTest, OnePacketIsAStream) {
  EXPECT_THAT(ReadFile({{}}), IsOkAndHolds(kA));
  EXPECT_EQ(segment_count_, std::nullopt);
  EXPECT_EQ(stream_size_, 32u);
}

TEST_F(PacketSourceTest, PacketsThatHoldTheirContentAreSegments) {
  EXPECT_THAT(ReadFile({{32, 70, 1, 3, kA}, {32, 70, 2, 3, kB}, {16, 70, 3, 3, kC}}),
              IsOkAndHolds(Segment(kA) + Segment(kB) + Segment(kC)));
  EXPECT_EQ(segment_count_, 3);
}

TEST_F(PacketSourceTest, PacketsOfALargerContentAreSlicesOfAStreamWithoutItsPadding) {
  EXPECT_THAT(ReadFile({{80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}, {80, 70, 3, 3, kC + kC}}),
              IsOkAndHolds(kA + kB + kC));
  EXPECT_EQ(segment_count_, std::nullopt);
  EXPECT_EQ(stream_size_, 80u);
}

TEST_F(PacketSourceTest, NumberAndTotalMayBeSwapped) {
  EXPECT_THAT(ReadFile({{32, 70, 2, 1, kA}, {32, 70, 2, 2, kB}}),
              IsOkAndHolds(Segment(kA) + Segment(kB)));
}

TEST_F(PacketSourceTest, PaddingOfSegmentsIsDropped) {
  EXPECT_THAT(ReadFile({{32, 40, 1, 2, kA}, {16, 40, 2, 2, kC + std::string(16, '\0')}}),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, ContentSizesMayBeThePlaintexts) {
  EXPECT_THAT(ReadFile({{31, 40, 1, 2, kA}, {9, 40, 2, 2, kC}}),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, APacketAboveTheTotalIsIgnored) {
  EXPECT_THAT(ReadFile({{32, 40, 1, 2, kA}, {32, 40, 3, 2, kB}, {16, 40, 2, 2, kC}}),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, LeavesWhatFollowsTheLastPacketAlone) {
  EXPECT_THAT(ReadFile({{}}, "next request"), IsOkAndHolds(kA));
  ASSERT_OK(connection_->WaitForBuffered(12, limits_.window));
  EXPECT_EQ(connection_->buffered(), "next request");
}

TEST_F(PacketSourceTest, RefusesPacketsThatDoNotFollow) {
  const PacketText first = {32, 70, 1, 3, kA};
  const std::vector<std::pair<PacketText, std::string>> cases = {
      {{32, 70, 3, 3, kB}, "packet 3 of 3 comes after packet 1 of 3"},
      {{32, 70, 1, 3, kB}, "packet 1 of 3 comes after packet 1 of 3"},
      {{32, 70, 2, 4, kB}, "packet 2 of 4 comes after packet 1 of 3"},
      {{32, 70, 2, 3, kB, "b.bin"}, "a part of b.bin comes between those of a.bin"},
      {{32, 70, 2, 3, kB, "a.bin", 1028}, "request 1028 comes between"},
      {{32, 70, 2, 3, kB, "a.bin", kFileCode, "another client's"}, "comes between"},
      {{48, 70, 2, 3, kB}, "packet 2 has 32 bytes of content, but says 48"}};
  for (const auto& [second, rule] : cases) {
    SetUpAgain();
    const auto content = ReadFile({first, second});
    EXPECT_THAT(content, StatusIs(absl::StatusCode::kInvalidArgument)) << rule;
    EXPECT_THAT(std::string(content.status().message()), HasSubstr(rule));
  }
}

TEST_F(PacketSourceTest, RefusesAStreamThatIsTooShortOrChangesItsSize) {
  EXPECT_THAT(ReadFile({{96, 70, 1, 2, kA}, {96, 70, 2, 2, kB}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  SetUpAgain();
  EXPECT_THAT(ReadFile({{64, 70, 1, 2, kA}, {80, 70, 2, 2, kB}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(PacketSourceTest, RefusesToBeginInTheMiddle) {
  EXPECT_THAT(ReadFile({{32, 70, 2, 3, kA}}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(PacketSourceTest, FailsWhenTheClientStops) {
  EXPECT_THAT(ReadFile({{32, 70, 1, 3, kA}}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(PacketSourceTest, GivesUpOnAClientThatTricklesTinyPackets) {
  limits_.window = absl::Milliseconds(200);
  limits_.least_bytes_per_second = 1'000'000;
  const std::string first = Encode({16, 70, 1, 65535, kC});
  ASSERT_GT(::send(peer_.get(), first.data(), first.size(), MSG_NOSIGNAL), 0);
  std::jthread trickle([this](const std::stop_token& token) {
    for (uint16_t number = 2; !token.stop_requested() && number < 65535; ++number) {
      const std::string packet = Encode({16, 70, number, 65535, kC});
      if (::send(peer_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // The slowness under test.
    }
  });
  const wire::Dialect& dialect = *wire::FindDialectByName("E");
  ASSERT_OK(connection_->WaitForBuffered(first.size(), absl::Seconds(20)));
  const auto head = dialect.DecodeHead(connection_->buffered()).value().value();
  connection_->Consume(head.head_size);
  const auto& file = std::get<wire::SendFile>(head.request.operation);
  PacketSource source(*connection_, dialect, head, *PacketOrder::OfFirst(*file.packet), limits_,
                      budget_);
  EXPECT_THAT(ReadAll(source, 1 << 20), StatusIs(absl::StatusCode::kDeadlineExceeded));
  connection_->Abort();
}

}  // namespace
}  // namespace backup::bridge
