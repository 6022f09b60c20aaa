#include "bridge/capture/reassembly.h"

#include <algorithm>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::capture {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using wire::Conversation;

const Endpoint kClient{std::string("\x0A\0\0\x01", 4), 40000};
const Endpoint kServer{std::string("\x0A\0\0\x02", 4), 1357};
constexpr uint32_t kClientStart = 0xFFFFFFF0;  // Its numbers wrap around.
constexpr uint32_t kServerStart = 1000;

TcpSegment Segment(bool from_client, uint32_t at, absl::string_view payload) {
  TcpSegment segment;
  segment.source = from_client ? kClient : kServer;
  segment.destination = from_client ? kServer : kClient;
  segment.sequence = (from_client ? kClientStart : kServerStart) + 1 + at;
  segment.ack = true;
  segment.payload = payload;
  segment.payload_size = payload.size();
  return segment;
}
TcpSegment FromClient(uint32_t at, absl::string_view payload) { return Segment(true, at, payload); }
TcpSegment FromServer(uint32_t at, absl::string_view payload) {
  return Segment(false, at, payload);
}
TcpSegment Syn(bool from_client) {
  TcpSegment segment = Segment(from_client, 0, "");
  segment.sequence -= 1;
  segment.syn = true;
  segment.ack = !from_client;
  return segment;
}
TcpSegment Fin(uint32_t at) {
  TcpSegment segment = FromClient(at, "");
  segment.fin = true;
  return segment;
}

std::vector<Conversation> Assemble(const std::vector<TcpSegment>& segments) {
  Reassembly reassembly;
  for (const TcpSegment& segment : segments) EXPECT_TRUE(reassembly.Add(segment));
  return reassembly.Finish();
}
Conversation AssembleOne(const std::vector<TcpSegment>& segments) {
  std::vector<Conversation> conversations = Assemble(segments);
  EXPECT_EQ(conversations.size(), 1u);
  return conversations.empty() ? Conversation() : conversations[0];
}

TEST(ReassemblyTest, BothSidesInTurns) {
  const Conversation conversation = AssembleOne({Syn(true), Syn(false), FromClient(0, "ask"),
                                                 FromServer(0, "answer"), FromClient(3, "again")});
  EXPECT_EQ(conversation.name, "10.0.0.1:40000 to 10.0.0.2:1357");
  EXPECT_EQ(conversation.client.bytes, "askagain");
  EXPECT_EQ(conversation.server.bytes, "answer");
  EXPECT_EQ(conversation.turns.size(), 2u);
  EXPECT_THAT(conversation.remarks, IsEmpty());
}

TEST(ReassemblyTest, OutOfOrderAgainAndOverlapping) {
  const Conversation conversation = AssembleOne(
      {Syn(true), FromClient(6, "ghi"), FromClient(3, "def"), FromClient(0, "abc"),
       FromClient(0, "abcdef"), FromClient(7, "hijkl"), FromClient(2, "cd"), Syn(true)});
  EXPECT_EQ(conversation.client.bytes, "abcdefghijkl");
  EXPECT_THAT(conversation.client.gaps, IsEmpty());
  EXPECT_THAT(conversation.remarks, IsEmpty());
}

TEST(ReassemblyTest, AnyOrderGivesTheSame) {
  std::string said;
  for (int i = 0; i < 3000; ++i) said.push_back(static_cast<char>('a' + i % 23));
  std::mt19937 random(16);  // NOLINT: the same each time.
  for (int round = 0; round < 50; ++round) {
    std::vector<TcpSegment> segments;
    for (size_t at = 0; at < said.size();) {
      const size_t size = 1 + random() % 200;
      const size_t back = std::min<size_t>(at, random() % 30);
      segments.push_back(FromClient(static_cast<uint32_t>(at - back),
                                    absl::string_view(said).substr(at - back, size + back)));
      if (random() % 4 == 0) segments.push_back(segments.back());
      at += size;
    }
    std::shuffle(segments.begin(), segments.end(), random);
    segments.insert(segments.begin(), Syn(true));
    const Conversation conversation = AssembleOne(segments);
    ASSERT_EQ(conversation.client.bytes, said);
    ASSERT_THAT(conversation.client.gaps, IsEmpty());
  }
}

TEST(ReassemblyTest, WhatIsMissingIsSaid) {
  const Conversation conversation =
      AssembleOne({Syn(true), FromClient(0, "abc"), FromClient(5, "fg"), Fin(9)});
  EXPECT_EQ(conversation.client.bytes, std::string("abc\0\0fg\0\0", 9));
  ASSERT_EQ(conversation.client.gaps.size(), 2u);
  EXPECT_EQ(conversation.client.gaps[0].at, 3u);
  EXPECT_EQ(conversation.client.gaps[0].size, 2u);
  EXPECT_EQ(conversation.client.gaps[1].at, 7u);
  EXPECT_EQ(conversation.client.MissingIn(0, 9), 4u);
  EXPECT_EQ(conversation.client.MissingIn(4, 2), 1u);
  EXPECT_EQ(conversation.client.MissingIn(5, 2), 0u);
}

TEST(ReassemblyTest, PacketsThatWereCutWhileCapturedAreMissingTheirEnds) {
  TcpSegment cut = FromClient(0, "ab");
  cut.payload_size = 5;
  const Conversation conversation = AssembleOne({Syn(true), cut, FromClient(5, "f")});
  EXPECT_EQ(conversation.client.bytes, std::string("ab\0\0\0f", 6));
  ASSERT_EQ(conversation.client.gaps.size(), 1u);
  EXPECT_EQ(conversation.client.gaps[0].size, 3u);
}

TEST(ReassemblyTest, ConnectionsThatBeganEarlier) {
  const Conversation conversation =
      AssembleOne({FromServer(500, "late"), FromClient(70, "x"), FromClient(60, "old")});
  EXPECT_EQ(conversation.client.bytes, "x");
  EXPECT_EQ(conversation.server.bytes, "late");
  EXPECT_THAT(conversation.remarks, ElementsAre(HasSubstr("it began before the capture")));
}

TEST(ReassemblyTest, TheSamePortsAgainAreAnotherConnection) {
  TcpSegment second = Syn(true);
  second.sequence += 12345;
  TcpSegment said = FromClient(0, "two");
  said.sequence += 12345;
  const std::vector<Conversation> conversations =
      Assemble({Syn(true), FromClient(0, "one"), second, said});
  ASSERT_EQ(conversations.size(), 2u);
  EXPECT_EQ(conversations[0].client.bytes, "one");
  EXPECT_EQ(conversations[1].client.bytes, "two");
}

TEST(ReassemblyTest, BytesThatComeAgainAsOthersAreSaid) {
  const Conversation conversation =
      AssembleOne({Syn(true), FromClient(0, "abc"), FromClient(0, "abXd")});
  EXPECT_EQ(conversation.client.bytes, "abcd");
  EXPECT_THAT(conversation.remarks, ElementsAre(HasSubstr("came again as others")));
}

TEST(ReassemblyTest, WhatIsFarAwayIsLeftOut) {
  const Conversation conversation = AssembleOne(
      {Syn(true), FromClient(0, "a"), FromClient(kMaxGap + 10, "far"), FromClient(1, "b")});
  EXPECT_EQ(conversation.client.bytes, "ab");
  EXPECT_THAT(conversation.remarks, ElementsAre(HasSubstr("3 bytes lie so far behind")));
}

TEST(ReassemblyTest, WhatWaitsIsBounded) {
  Reassembly reassembly;
  EXPECT_TRUE(reassembly.Add(Syn(true)));
  const std::string payload(60'000, 'p');
  for (uint32_t at = 10; at < kMaxWaiting + 200'000; at += 60'000) {
    EXPECT_TRUE(reassembly.Add(FromClient(at, payload)));
  }
  EXPECT_TRUE(reassembly.Add(FromClient(0, "too late.")));
  const std::vector<Conversation> conversations = reassembly.Finish();
  ASSERT_EQ(conversations[0].client.gaps.size(), 1u);
  EXPECT_EQ(conversations[0].client.gaps[0].size, 10u);
}

TEST(ReassemblyTest, ConnectionsAndBytesAreLimited) {
  Reassembly reassembly;
  TcpSegment syn = Syn(true);
  for (size_t i = 0; i < kMaxConnections; ++i) {
    syn.source.port = static_cast<uint16_t>(2000 + i);
    EXPECT_TRUE(reassembly.Add(syn));
  }
  syn.source.port = 1999;
  EXPECT_FALSE(reassembly.Add(syn));

  Reassembly large;
  EXPECT_TRUE(large.Add(Syn(true)));
  TcpSegment segment = FromClient(0, "");
  segment.payload_size = kMaxGap;  // Nothing of it was captured.
  uint32_t added = 0;
  while (large.Add(segment)) {
    segment.sequence += static_cast<uint32_t>(segment.payload_size);
    ASSERT_LE(++added, kMaxBytes / kMaxGap);
  }
  EXPECT_EQ(added, kMaxBytes / kMaxGap);
}

}  // namespace
}  // namespace backup::capture
