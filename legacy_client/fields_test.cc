#include "legacy_client/fields.h"

#include "gtest/gtest.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::Field;

Field Integer(uint32_t width, bridge::v1::ByteOrder order) {
  Field field;
  field.set_kind(Field::CODE);
  field.set_width(width);
  field.set_byte_order(order);
  return field;
}

std::string Encoded(const Field& field, bridge::v1::ByteOrder default_order, uint64_t value) {
  std::string out;
  AppendInteger(field, default_order, value, out);
  EXPECT_EQ(DecodeInteger(field, default_order, out), value);
  return out;
}

TEST(Fields, IntegersHaveTheirOwnByteOrderOrTheDialects) {
  EXPECT_EQ(Encoded(Integer(4, bridge::v1::BYTE_ORDER_UNSPECIFIED),
                    bridge::v1::BYTE_ORDER_UNSPECIFIED, 0x010203),
            std::string("\3\2\1\0", 4));
  EXPECT_EQ(Encoded(Integer(4, bridge::v1::BYTE_ORDER_UNSPECIFIED), bridge::v1::BIG, 0x010203),
            std::string("\0\1\2\3", 4));
  EXPECT_EQ(Encoded(Integer(2, bridge::v1::LITTLE), bridge::v1::BIG, 0x0102), "\2\1");
  EXPECT_EQ(Encoded(Integer(8, bridge::v1::BIG), bridge::v1::LITTLE, 0x0102),
            std::string("\0\0\0\0\0\0\1\2", 8));
  EXPECT_EQ(Encoded(Integer(1, bridge::v1::BIG), bridge::v1::LITTLE, 7), "\7");
}

TEST(Fields, LargestValueIsThatOfTheWidth) {
  EXPECT_EQ(MaxOf(Integer(1, bridge::v1::BIG)), 0xFF);
  EXPECT_EQ(MaxOf(Integer(4, bridge::v1::BIG)), 0xFFFFFFFF);
  EXPECT_EQ(MaxOf(Integer(8, bridge::v1::BIG)), INT64_MAX);
}

Field Name(uint32_t width, Field::NameEnd end, uint32_t fill) {
  Field field;
  field.set_kind(Field::FILE_NAME);
  field.set_width(width);
  field.set_max_width(5);
  field.set_name_end(end);
  field.set_fill(fill);
  return field;
}

std::string Named(const Field& field, absl::string_view name) {
  std::string out;
  AppendName(field, name, out);
  return out;
}

TEST(Fields, NamesEndAsTheFieldSays) {
  EXPECT_EQ(Named(Name(5, Field::AT_NUL, 0), "ab"), std::string("ab\0\0\0", 5));
  EXPECT_EQ(Named(Name(5, Field::AT_NUL, 'x'), "ab"), std::string("ab\0xx", 5));
  EXPECT_EQ(Named(Name(5, Field::AT_NUL, 'x'), "abcde"), "abcde");
  EXPECT_EQ(Named(Name(5, Field::AT_LAST_VISIBLE, ' '), "ab"), "ab   ");
  EXPECT_EQ(Named(Name(5, Field::AT_LINE_FEED, 'x'), "ab"), "ab\nxx");
  EXPECT_EQ(Named(Name(0, Field::AT_NUL, 0), "ab"), "ab");
  EXPECT_EQ(Named(Name(0, Field::AT_LINE_FEED, 0), "ab"), "ab\n");
}

TEST(Fields, NamesThatWouldNotBeReadWholeAreKnown) {
  EXPECT_TRUE(HoldsName(Name(5, Field::AT_NUL, 0), "a b "));
  EXPECT_FALSE(HoldsName(Name(5, Field::AT_NUL, 0), "abcdef"));
  EXPECT_FALSE(HoldsName(Name(0, Field::AT_NUL, 0), "abcdef"));
  EXPECT_FALSE(HoldsName(Name(5, Field::AT_LAST_VISIBLE, ' '), "ab "));
  EXPECT_FALSE(HoldsName(Name(5, Field::AT_LINE_FEED, 0), "a\nb"));
}

TEST(Fields, BytesAreFilledUp) {
  Field field;
  field.set_width(4);
  field.set_fill(0xFE);
  std::string out;
  AppendFilled(field, "ab", out);
  EXPECT_EQ(out, "ab\xFE\xFE");
}

TEST(Fields, BytesMayBeText) {
  EXPECT_EQ(EncodeText(bridge::v1::BINARY, "\xAB"), "\xAB");
  EXPECT_EQ(EncodeText(bridge::v1::HEX, "\xAB\x01"), "ab01");
  EXPECT_EQ(EncodeText(bridge::v1::BASE64, "hello"), "aGVsbG8=");
  EXPECT_EQ(EncodeText(bridge::v1::PEM, "hello", "PUBLIC KEY"),
            "-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n");
  EXPECT_EQ(EncodeText(bridge::v1::PEM, std::string(49, '\0'), "X"),
            "-----BEGIN X-----\n" + std::string(64, 'A') + "\nAA==\n-----END X-----\n");
  EXPECT_EQ(TextSize(bridge::v1::HEX, 5), 10);
  EXPECT_EQ(TextSize(bridge::v1::BASE64, 5), 8);
  EXPECT_EQ(TextSize(bridge::v1::BINARY, 5), 5);
}

TEST(Fields, TextIsDecodedWhateverFillsItUp) {
  EXPECT_EQ(DecodeText(bridge::v1::HEX, absl::string_view("AB01\0 ", 6)), "\xAB\x01");
  EXPECT_EQ(DecodeText(bridge::v1::BASE64, absl::string_view("aGVs\nbG8=\r\n\0", 12)), "hello");
  EXPECT_EQ(DecodeText(bridge::v1::BINARY, "ab "), "ab ");
  EXPECT_EQ(DecodeText(bridge::v1::HEX, "abc"), std::nullopt);
  EXPECT_EQ(DecodeText(bridge::v1::BASE64, "a-b"), std::nullopt);
}

}  // namespace
}  // namespace backup::legacy_client
