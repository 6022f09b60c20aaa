#include "bridge/capture/hex_text.h"

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::capture {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(absl::string_view text) {
  return std::string(ReadHexText(text).status().message());
}

std::string OneClient(absl::string_view text) {
  const auto conversations = ReadHexText(text);
  EXPECT_OK(conversations);
  if (!conversations.ok() || conversations->size() != 1) return "not one conversation";
  EXPECT_EQ((*conversations)[0].server.bytes, "");
  return (*conversations)[0].client.bytes;
}

TEST(HexTextTest, ReadsTranscripts) {
  const auto conversations = ReadHexText(
      "# a client\n## first one\nC> 4142\nC> 43\nS> 6162\n#  says\nC> 44\n\n## second\r\nC> "
      "45\r\n");
  ASSERT_OK(conversations);
  ASSERT_EQ(conversations->size(), 2u);
  const wire::Conversation& first = (*conversations)[0];
  EXPECT_EQ(first.name, "first one");
  EXPECT_EQ(first.client.bytes, "ABCD");
  EXPECT_EQ(first.server.bytes, "ab");
  ASSERT_EQ(first.turns.size(), 2u);
  EXPECT_EQ(first.turns[0].client_end, 3u);
  EXPECT_EQ(first.turns[0].server_end, 2u);
  EXPECT_EQ(first.turns[1].client_end, 4u);
  EXPECT_EQ((*conversations)[1].client.bytes, "E");
}

TEST(HexTextTest, ReadsDumps) {
  EXPECT_EQ(OneClient("00000000: 4142 4344 4546 4748 494a 4b4c 4d4e 4f50  ABCDEFGHIJKLMNOP\n"
                      "00000010: 51                                       Q\n"),
            "ABCDEFGHIJKLMNOPQ");
  EXPECT_EQ(
      OneClient("00000000  41 42 43 44 45 46 47 48  49 4a 4b 4c 4d 4e 4f 50  |ABCDEFGHIJKLMNOP|\n"
                "00000010  51                                                |Q|\n00000011\n"),
      "ABCDEFGHIJKLMNOPQ");
}

TEST(HexTextTest, ReadsRepeatedLinesOfDumps) {
  EXPECT_EQ(
      OneClient("00000000  41 41 41 41 41 41 41 41  41 41 41 41 41 41 41 41  |AAAAAAAAAAAAAAAA|\n"
                "*\n00000030  42  |B|\n00000031\n"),
      std::string(48, 'A') + "B");
  EXPECT_THAT(ErrorOf("00000000  41 41  |AA|\n*\nfffffff0  42  |B|\n"),
              HasSubstr("line 3: it says offset 4294967280, but 2 bytes are before it"));
}

TEST(HexTextTest, RepeatsOnlyLinesOfTheSameClientAndNotTooMany) {
  EXPECT_THAT(ErrorOf("00000000: 4141\n*\n## second\n00000010: 42\n"),
              HasSubstr("line 4: it says offset 16, but 0 bytes are before it"));
  EXPECT_THAT(ErrorOf("00000000: 4141\n## second\n*\n00000010: 42\n"),
              HasSubstr("line 4: it says offset 16, but 0 bytes are before it"));
  const std::string ten_mib = "00000000: 4141\n*\n00a00000: 42\n";
  EXPECT_EQ(OneClient(ten_mib).size(), (size_t{10} << 20) + 1);
  EXPECT_THAT(ErrorOf(ten_mib + "## second\n" + ten_mib),
              HasSubstr("line 7: it says offset 10485760, but 2 bytes are before it"));
}

TEST(HexTextTest, ReadsPlainHex) {
  EXPECT_EQ(OneClient("41 42\n4344\n"), "ABCD");
  EXPECT_EQ(OneClient("41424344\n45"), "ABCDE");
}

TEST(HexTextTest, WhatIsNoHexIsSaidWithItsLine) {
  EXPECT_THAT(ErrorOf("C> 00\nC> 0g\n"), HasSubstr("line 2: these are no bytes in hex"));
  EXPECT_THAT(ErrorOf("C> 00\nX> 00\n"), HasSubstr("line 2: it begins with none of C>, S> and #"));
  EXPECT_THAT(ErrorOf("GET / HTTP/1.1\r\nHost: x\r\n"), HasSubstr("line 1: "));
  EXPECT_THAT(ErrorOf("00000000: 41\n00000005: 42\n"), HasSubstr("offset 5, but 1 bytes"));
  EXPECT_THAT(ErrorOf("00000000: 41\nnonsense\n"), HasSubstr("line 2: it is no line of xxd"));
  EXPECT_EQ(ReadHexText("# nothing\n")->size(), 0u);
}

}  // namespace
}  // namespace backup::capture
