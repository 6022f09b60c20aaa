#include "bridge/upload/packet_source.h"

#include <sys/socket.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
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
using ::backup::bridge::testing::Segment;
using ::backup::bridge::testing::UploadFixture;
using ::backup::testing::IsOkAndHolds;
using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Optional;
using Changes = std::vector<std::pair<std::string, std::string>>;

constexpr uint16_t kFileCode = 828;
constexpr absl::string_view kId = "0123456789abcdef";
constexpr size_t kNameSize = 255;

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
using Packets = std::vector<PacketText>;

// Without a header.
std::string EncodeBare(const PacketText& packet) {
  std::string name = packet.name;
  name.resize(kNameSize);
  return wire::ByteWriter()
      .U32(packet.content_size)
      .U32(packet.original_size)
      .U16(packet.number)
      .U16(packet.total)
      .Bytes(name)
      .Bytes(packet.body)
      .Take();
}

std::string Encode(const PacketText& packet) {
  const std::string payload = EncodeBare(packet);
  return wire::ByteWriter()
      .Bytes(packet.id)
      .U8(3)
      .U16(packet.code)
      .U32(static_cast<uint32_t>(payload.size()))
      .Bytes(payload)
      .Take();
}

std::string EncodeAll(const Packets& packets) {
  std::string bytes;
  for (const PacketText& packet : packets) bytes += Encode(packet);
  return bytes;
}

// Only the first has a header.
std::string EncodeHeadless(const Packets& packets) {
  std::string bytes = Encode(packets.front());
  for (size_t i = 1; i < packets.size(); ++i) bytes += EncodeBare(packets[i]);
  return bytes;
}

// Family E with other words for its packets.
wire::Dialect WithPackets(const std::string& packets, Changes others = {}) {
  others.emplace_back(
      "packets { encryption: BY_SIZE numbers_may_be_swapped: true surplus_is_ignored: true }",
      "packets { " + packets + " }");
  return ChangedDialect("E", others);
}

wire::Dialect Headless(Changes others = {}) {
  others.emplace_back("length: BY_EITHER", "length: BY_PAYLOAD_SIZE");
  return WithPackets("encryption: ONE_STREAM header_on_first_only: true", std::move(others));
}

class PacketSourceTest : public UploadFixture {
 protected:
  absl::StatusOr<std::string> ReadPackets(const Packets& packets) {
    return ReadFile(dialect_, EncodeAll(packets));
  }
  void ExpectBroken(const wire::Dialect& dialect, const std::string& bytes,
                    const std::string& rule) {
    const auto content = ReadFile(dialect, bytes);
    EXPECT_THAT(content, StatusIs(absl::StatusCode::kInvalidArgument)) << rule;
    EXPECT_THAT(std::string(content.status().message()), HasSubstr(rule));
  }
  void ExpectBroken(const Packets& packets, const std::string& rule) {
    ExpectBroken(dialect_, EncodeAll(packets), rule);
  }

  const wire::Dialect dialect_ = ChangedDialect("E");
};

const std::string kA(32, 'a');
const std::string kB(32, 'b');
const std::string kC(16, 'c');

TEST_F(PacketSourceTest, OnePacketIsAStream) {
  EXPECT_THAT(ReadPackets({{}}), IsOkAndHolds(kA));
  EXPECT_EQ(content_.segment_count, std::nullopt);
  EXPECT_EQ(content_.size, 32u);
}

TEST_F(PacketSourceTest, PacketsThatHoldTheirContentAreSegments) {
  EXPECT_THAT(ReadPackets({{32, 70, 1, 3, kA}, {32, 70, 2, 3, kB}, {16, 70, 3, 3, kC}}),
              IsOkAndHolds(Segment(kA) + Segment(kB) + Segment(kC)));
  EXPECT_THAT(content_.segment_count, Optional(3));
  EXPECT_EQ(content_.size, 0u);
}

TEST_F(PacketSourceTest, PacketsOfALargerContentAreSlicesOfAStreamWithoutItsPadding) {
  EXPECT_THAT(ReadPackets({{80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}, {80, 70, 3, 3, kC + kC}}),
              IsOkAndHolds(kA + kB + kC));
  EXPECT_EQ(content_.segment_count, std::nullopt);
  EXPECT_EQ(content_.size, 80u);
}

TEST_F(PacketSourceTest, NumberAndTotalMayBeSwapped) {
  const Packets swapped = {{32, 70, 2, 1, kA}, {32, 70, 2, 2, kB}};
  EXPECT_THAT(ReadPackets(swapped), IsOkAndHolds(Segment(kA) + Segment(kB)));
  ExpectBroken(WithPackets("encryption: BY_SIZE"), EncodeAll(swapped),
               "a file begins with packet 2 of 1");
}

TEST_F(PacketSourceTest, PaddingOfSegmentsIsDropped) {
  EXPECT_THAT(ReadPackets({{32, 40, 1, 2, kA}, {16, 40, 2, 2, kC + std::string(16, '\0')}}),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, ContentSizesMayBeThePlaintexts) {
  EXPECT_THAT(ReadPackets({{31, 40, 1, 2, kA}, {9, 40, 2, 2, kC}}),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, APacketAboveTheTotalIsIgnoredWhereTheDialectSaysSo) {
  const Packets packets = {{32, 40, 1, 2, kA}, {32, 40, 3, 2, kB}, {16, 40, 2, 2, kC}};
  EXPECT_THAT(ReadPackets(packets), IsOkAndHolds(Segment(kA) + Segment(kC)));
  EXPECT_TRUE(content_.packets->IsSurplus({3, 2}));
  ExpectBroken(WithPackets("encryption: BY_SIZE"), EncodeAll(packets),
               "packet 3 of 2 comes after packet 1 of 2");
  EXPECT_FALSE(content_.packets->IsSurplus({3, 2}));
}

TEST_F(PacketSourceTest, LeavesWhatFollowsTheLastPacketAlone) {
  EXPECT_THAT(ReadFile(dialect_, Encode({}) + "next request"), IsOkAndHolds(kA));
  EXPECT_EQ(Following(12), "next request");
}

TEST_F(PacketSourceTest, TheDialectSaysWhatIsEncrypted) {
  // A stream that fits into its first packet, and packets that do not fit.
  EXPECT_THAT(ReadFile(WithPackets("encryption: ONE_STREAM"),
                       EncodeAll({{48, 40, 1, 2, kA + kB + kC}, {48, 40, 2, 2, kC}})),
              IsOkAndHolds(kA + kB.substr(0, 16)));
  EXPECT_EQ(content_.segment_count, std::nullopt);
  ExpectBroken(WithPackets("encryption: EACH_PACKET"),
               EncodeAll({{80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}}),
               "packet 1 has 32 bytes of content, but says 80");
}

TEST_F(PacketSourceTest, TheDialectSaysWhatTheContentSizeCounts) {
  const Packets of_plaintext = {{32, 32, 1, 2, kA + kC}, {16, 16, 2, 2, kC + kC}};
  EXPECT_THAT(
      ReadFile(WithPackets("encryption: EACH_PACKET", {{"CIPHERTEXT_OR_PLAINTEXT", "PLAINTEXT"}}),
               EncodeAll(of_plaintext)),
      IsOkAndHolds(Segment(kA + kC) + Segment(kC + kC)));
  const Packets of_nothing = {{99, 0, 1, 2, kA}, {0, 0, 2, 2, kC}};
  const Changes nothing = {{"CIPHERTEXT_OR_PLAINTEXT", "NOTHING"},
                           {"length: BY_EITHER", "length: BY_PAYLOAD_SIZE"}};
  EXPECT_THAT(ReadFile(WithPackets("encryption: EACH_PACKET", nothing), EncodeAll(of_nothing)),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
  const Packets with_itself = {{36, 20, 1, 2, kA}, {20, 15, 2, 2, kC}};
  EXPECT_THAT(ReadFile(WithPackets("encryption: EACH_PACKET",
                                   {{"content_size_counts: CIPHERTEXT_OR_PLAINTEXT",
                                     "content_size_counts: CIPHERTEXT content_size_excess: 4"}}),
                       EncodeAll(with_itself)),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, AnInitialVectorAndPaddingWithZerosCountInSizes) {
  const Changes zeros = {{"CIPHERTEXT_OR_PLAINTEXT", "PLAINTEXT"},
                         {"session_key_bits: 256", "session_key_bits: 256 padding: ZEROS"}};
  const Changes both = {
      {"CIPHERTEXT_OR_PLAINTEXT", "PLAINTEXT"},
      {"session_key_bits: 256", "session_key_bits: 256 padding: ZEROS initial_vector: IN_FRONT"}};
  // A stream of 32 bytes for 20, and of 48 with the vector.
  EXPECT_THAT(ReadFile(WithPackets("encryption: ONE_STREAM", zeros),
                       EncodeAll({{20, 20, 1, 2, kC}, {20, 20, 2, 2, kC + "fill"}})),
              IsOkAndHolds(kC + kC));
  EXPECT_THAT(content_.plaintext_size, Optional(20u));
  EXPECT_THAT(ReadFile(WithPackets("encryption: ONE_STREAM", both),
                       EncodeAll({{20, 20, 1, 2, kA}, {20, 20, 2, 2, kC + "fill"}})),
              IsOkAndHolds(kA + kC));
  EXPECT_THAT(content_.plaintext_size, Optional(20u));
  // Each packet with a vector of its own. What a packet has is not what the file has.
  EXPECT_THAT(ReadFile(WithPackets("encryption: EACH_PACKET", both),
                       EncodeAll({{16, 16, 1, 2, kA}, {5, 5, 2, 2, kB}})),
              IsOkAndHolds(Segment(kA) + Segment(kB)));
  EXPECT_EQ(content_.plaintext_size, std::nullopt);
  EXPECT_THAT(ReadFile(WithPackets("encryption: ONE_STREAM", zeros),
                       EncodeAll({{20, 16, 1, 2, kC}, {20, 4, 2, 2, kC}})),
              IsOkAndHolds(kC + kC));
  EXPECT_EQ(content_.plaintext_size, std::nullopt);
}

TEST_F(PacketSourceTest, OnlyTheFirstMayHaveAHeader) {
  const wire::Dialect dialect = Headless({{"CIPHERTEXT_OR_PLAINTEXT", "CIPHERTEXT"}});
  const Packets packets = {
      {80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}, {80, 70, 3, 3, kC + std::string(16, '\0')}};
  EXPECT_THAT(ReadFile(dialect, EncodeHeadless(packets) + "next"), IsOkAndHolds(kA + kB + kC));
  EXPECT_EQ(content_.size, 80u);
  EXPECT_EQ(Following(4), "next");
  ExpectBroken(dialect, EncodeHeadless({packets[0], packets[2]}),
               "packet 3 of 3 comes after packet 1 of 3");
  ExpectBroken(dialect, EncodeHeadless({packets[0], {80, 70, 2, 3, kB, "b.bin"}}),
               "a part of b.bin comes between those of a.bin");
  ExpectBroken(dialect, EncodeAll(packets), "comes");
}

TEST_F(PacketSourceTest, TheLastWithoutAHeaderMayBeShorter) {
  const Changes changes = {{"length: BY_EITHER", "length: BY_PAYLOAD_SIZE"},
                           {"CIPHERTEXT_OR_PLAINTEXT", "CIPHERTEXT"}};
  const wire::Dialect dialect = WithPackets(
      "encryption: ONE_STREAM header_on_first_only: true last_is_shorter: true", changes);
  EXPECT_THAT(ReadFile(dialect, EncodeHeadless(
                                    {{80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}, {80, 70, 3, 3, kC}}) +
                                    "next"),
              IsOkAndHolds(kA + kB + kC));
  EXPECT_EQ(Following(4), "next");
  ExpectBroken(dialect, EncodeHeadless({{80, 70, 1, 2, kA}, {80, 70, 2, 2, kB}}),
               "16 bytes less than their content size");
}

TEST_F(PacketSourceTest, CarriesALargeFileInHeadlessPackets) {
  constexpr size_t kSlice = 1024;
  constexpr uint16_t kTotal = 2000;
  const std::string content = PseudoRandomBytes(kSlice * kTotal - 48);
  std::string filled = content;
  filled.resize(kSlice * kTotal);
  Packets packets;
  for (uint16_t i = 0; i < kTotal; ++i) {
    packets.push_back({static_cast<uint32_t>(content.size()), 0, static_cast<uint16_t>(i + 1),
                       kTotal, filled.substr(i * kSlice, kSlice)});
  }
  EXPECT_THAT(
      ReadFile(Headless({{"CIPHERTEXT_OR_PLAINTEXT", "CIPHERTEXT"}}), EncodeHeadless(packets)),
      IsOkAndHolds(content));
}

// Each message is filled up to 512 bytes.
std::string EncodeFilled(const Packets& packets) {
  std::string bytes;
  for (const PacketText& packet : packets) {
    bytes += Encode(packet);
    bytes.resize((bytes.size() + 511) / 512 * 512, '\xFE');
  }
  return bytes;
}

const char kCryptography[] = "cryptography { session_key_bits: 256";
std::pair<std::string, std::string> Filling(const std::string& when) {
  return {kCryptography, "padding { multiple_of: 512 requests: " + when + " answers: " + when +
                             " }\n" + kCryptography};
}

TEST_F(PacketSourceTest, EachMessageIsFilledUpIfTheClientDoesSo) {
  const Packets packets = {{32, 40, 1, 2, kA}, {16, 40, 2, 2, kC}};
  const std::string bytes = EncodeFilled(packets);
  const auto padded = [](const std::string& when) { return ChangedDialect("E", {Filling(when)}); };
  EXPECT_THAT(ReadFile(padded("ALWAYS"), bytes + "next"), IsOkAndHolds(Segment(kA) + Segment(kC)));
  EXPECT_EQ(Following(4), "next");
  EXPECT_THAT(ReadFile(padded("BY_CLIENT"), bytes, /*pads=*/true),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
  EXPECT_TRUE(content_.is_padded);
  EXPECT_THAT(ReadFile(padded("BY_CLIENT"), EncodeAll(packets)),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
  EXPECT_FALSE(content_.is_padded);
}

TEST_F(PacketSourceTest, WhatFillsThePacketsOfAStreamIsNoPartOfIt) {
  const wire::Dialect dialect = WithPackets("encryption: ONE_STREAM", {Filling("ALWAYS")});
  EXPECT_THAT(
      ReadFile(dialect,
               EncodeFilled({{80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}, {80, 70, 3, 3, kC}}) + "next"),
      IsOkAndHolds(kA + kB + kC));
  EXPECT_EQ(Following(4), "next");
}

TEST_F(PacketSourceTest, WhatFillsASurplusPacketIsIgnoredWithIt) {
  const Packets packets = {{32, 40, 1, 2, kA}, {32, 40, 3, 2, kB}, {16, 40, 2, 2, kC}};
  EXPECT_THAT(ReadFile(ChangedDialect("E", {Filling("ALWAYS")}), EncodeFilled(packets)),
              IsOkAndHolds(Segment(kA) + Segment(kC)));
}

TEST_F(PacketSourceTest, NoPrefixIsAFile) {
  const wire::Dialect headless = Headless();
  const Packets packets = {{80, 70, 1, 3, kA}, {80, 70, 2, 3, kB}, {80, 70, 3, 3, kC + kC}};
  for (const auto& [dialect, bytes] :
       {std::pair(&dialect_, EncodeAll(packets)), std::pair(&headless, EncodeHeadless(packets))}) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      ASSERT_THAT(ReadFile(*dialect, absl::string_view(bytes).substr(0, size)),
                  StatusIs(absl::StatusCode::kDataLoss))
          << size;
    }
  }
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
  for (const auto& [second, rule] : cases) ExpectBroken({first, second}, rule);
}

TEST_F(PacketSourceTest, RefusesAStreamThatIsTooShortOrChangesItsSize) {
  ExpectBroken({{96, 70, 1, 2, kA}, {96, 70, 2, 2, kB}}, "32 bytes less than their content size");
  ExpectBroken({{64, 70, 1, 2, kA}, {80, 70, 2, 2, kB}}, "tells another size of the file");
}

TEST_F(PacketSourceTest, RefusesToBeginInTheMiddle) {
  ExpectBroken({{32, 70, 2, 3, kA}}, "a file begins with packet 2 of 3");
}

TEST(PacketOrder, RefusesWhatNoFileBeginsWith) {
  wire::PacketTraits traits;
  traits.numbers_may_be_swapped = true;
  constexpr uint64_t kMost = PacketOrder::kMaxPackets;
  for (const wire::Packet& packet :
       {wire::Packet{1, 0}, wire::Packet{0, 1}, wire::Packet{0, 0}, wire::Packet{2, 2},
        wire::Packet{1, kMost + 1}, wire::Packet{kMost + 1, 1}, wire::Packet{1, ~uint64_t{0}}}) {
    EXPECT_FALSE(PacketOrder::OfFirst(packet, traits).ok()) << packet.number << packet.total;
  }
  EXPECT_EQ(PacketOrder::OfFirst({1, kMost}, traits)->total(), kMost);
  EXPECT_EQ(PacketOrder::OfFirst({kMost, 1}, traits)->total(), kMost);
}

TEST_F(PacketSourceTest, RefusesMoreSegmentsAndBytesThanThereCanBe) {
  const Changes wide = {{"CONTENT_SIZE width: 4", "CONTENT_SIZE width: 8"},
                        {"PACKET_NUMBER width: 2", "PACKET_NUMBER width: 8"},
                        {"PACKET_TOTAL width: 2", "PACKET_TOTAL width: 8"}};
  const wire::Dialect dialect = ChangedDialect("E", wide);
  const auto encode = [](uint64_t content_size, uint64_t total) {
    const auto u64 = [](uint64_t value) {
      return wire::ByteWriter()
          .U32(static_cast<uint32_t>(value))
          .U32(static_cast<uint32_t>(value >> 32))
          .Take();
    };
    const std::string payload = u64(content_size) + std::string(4, '\0') + u64(1) + u64(total) +
                                std::string(kNameSize, 'n');
    return wire::ByteWriter()
        .Bytes(kId)
        .U8(3)
        .U16(kFileCode)
        .U32(static_cast<uint32_t>(payload.size() + kA.size()))
        .Bytes(payload)
        .Bytes(kA)
        .Take();
  };
  ExpectBroken(dialect, encode(32, 65536), "65536 packets");
  EXPECT_THAT(ReadFile(dialect, encode(32, 65535)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ReadFile(dialect, encode(uint64_t{1} << 40, 65536)),
              StatusIs(absl::StatusCode::kDataLoss));
  for (const uint64_t size : {~uint64_t{0}, ~uint64_t{0} - 15, uint64_t{1} << 63}) {
    for (const uint64_t total : {uint64_t{1}, uint64_t{3}, ~uint64_t{0}}) {
      EXPECT_THAT(ReadFile(dialect, encode(size, total)),
                  StatusIs(absl::StatusCode::kInvalidArgument));
    }
  }
}

TEST_F(PacketSourceTest, GivesUpOnAClientThatTricklesTinyPackets) {
  limits_.window = absl::Milliseconds(200);
  limits_.least_bytes_per_second = 1'000'000;
  PeerSends(Encode({16, 70, 1, 65535, kC}));
  std::jthread trickle([this](const std::stop_token& token) {
    for (uint16_t number = 2; !token.stop_requested() && number < 65535; ++number) {
      const std::string packet = Encode({16, 70, number, 65535, kC});
      if (::send(peer_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // The slowness under test.
    }
  });
  EXPECT_THAT(ReadSent(dialect_, std::nullopt), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace backup::bridge
