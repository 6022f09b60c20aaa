#include "bridge/wire/byte_reader.h"
#include "bridge/wire/byte_writer.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

TEST(ByteWriter, WritesTheLeastSignificantByteFirst) {
  const std::string bytes =
      ByteWriter().U8(0x01).U16(0x8203).U32(0x87060504).Bytes(absl::string_view("a\0b", 3)).Take();
  EXPECT_EQ(bytes, std::string("\x01\x03\x82\x04\x05\x06\x87"
                               "a\0b",
                               10));
}

TEST(ByteReader, ReadsBackWhatTheWriterWrote) {
  const std::string bytes = ByteWriter().U8(0xFF).U16(0xFFFE).U32(0xFFFFFFFD).Bytes("rest").Take();
  ByteReader reader(bytes);
  EXPECT_EQ(reader.U8(), 0xFF);
  EXPECT_EQ(reader.U16(), 0xFFFE);
  EXPECT_EQ(reader.U32(), 0xFFFFFFFD);
  EXPECT_EQ(reader.Bytes(4), "rest");
  EXPECT_EQ(reader.Bytes(0), "");
}

TEST(ByteReaderDeathTest, DiesRatherThanReadPastTheEnd) {
  EXPECT_DEATH(ByteReader("abc").U32(), "size");
  EXPECT_DEATH(ByteReader("abc").Bytes(4), "size");
}

}  // namespace
}  // namespace backup::wire
