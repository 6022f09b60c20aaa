#include "bridge/wire/fields.h"

#include "gtest/gtest.h"

namespace backup::wire {
namespace {

TEST(CutAtNul, KeepsAFieldWithoutNulWhole) {
  EXPECT_EQ(CutAtNul("name"), "name");
  EXPECT_EQ(CutAtNul(absl::string_view("name\0garbage", 12)), "name");
  EXPECT_EQ(CutAtNul(absl::string_view("\0garbage", 8)), "");
}

TEST(CutAtZeroByte, KeepsTheBytesBeforeIt) {
  EXPECT_EQ(CutAtZeroByte(0x01020304), 0x01020304u);
  EXPECT_EQ(CutAtZeroByte(0x01000304), 0x0304u);
  EXPECT_EQ(CutAtZeroByte(0x00010010), 0x10u);
  EXPECT_EQ(CutAtZeroByte(0x01020300), 0u);
  EXPECT_EQ(CutAtZeroByte(0), 0u);
}

}  // namespace
}  // namespace backup::wire
