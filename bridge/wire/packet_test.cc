#include "bridge/wire/packet.h"

#include "base/testing/status_matchers.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/testing/request_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

constexpr size_t kFieldsSize = 12 + kNameFieldSize;

ClientId Id() { return *ClientId::FromBytes("0123456789abcdef"); }

std::string PacketHead(uint16_t code, uint32_t payload_size, uint32_t content_size, uint16_t number,
                       uint16_t total) {
  return RequestBytes({Id(), 3, code, payload_size}, ByteWriter()
                                                         .U32(content_size)
                                                         .U32(10'001)
                                                         .U16(number)
                                                         .U16(total)
                                                         .Bytes(NameField("a.bin"))
                                                         .Take());
}

absl::StatusOr<std::optional<DecodedHead>> Decode(const std::string& bytes) {
  return FindDialectByName("E")->DecodeHead(bytes);
}

TEST(Packet, KeepsItsFieldsAsTheyAre) {
  const auto decoded = Decode(PacketHead(828, kFieldsSize + 4096, 10'016, 3, 2));
  ASSERT_OK(decoded);
  const DecodedHead& head = decoded->value();
  EXPECT_EQ(head.head_size, kRequestHeaderSize + kFieldsSize);
  EXPECT_EQ(head.body_size, 4096u);
  EXPECT_EQ(head.request.family, "E");
  const auto& file = std::get<SendFile>(head.request.operation);
  EXPECT_EQ(file.content_size, 10'016u);
  EXPECT_EQ(file.name, "a.bin");
  EXPECT_EQ(file.name_field, NameField("a.bin"));
  ASSERT_TRUE(file.packet.has_value());
  EXPECT_EQ(file.packet->number, 3);
  EXPECT_EQ(file.packet->total, 2);
  EXPECT_EQ(file.packet->original_size, 10'001u);
}

TEST(Packet, TakesTheContentSizeWhenThePayloadSizeDoesNotCountTheContent) {
  for (const uint32_t payload_size : {uint32_t{kFieldsSize}, 0u, 11u}) {
    const auto decoded = Decode(PacketHead(828, payload_size, 4096, 1, 1));
    ASSERT_OK(decoded);
    EXPECT_EQ(decoded->value().body_size, 4096u);
  }
}

TEST(Packet, CountsFromOne) {
  for (const auto& [number, total] : {std::pair<uint16_t, uint16_t>{0, 1}, {1, 0}, {0, 0}}) {
    const auto decoded = Decode(PacketHead(828, kFieldsSize + 16, 16, number, total));
    EXPECT_THAT(decoded, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(decoded.status().message()), HasSubstr("counted from 1"));
  }
}

TEST(Packet, HasContent) {
  EXPECT_THAT(Decode(PacketHead(828, kFieldsSize, 0, 1, 1)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup::wire
