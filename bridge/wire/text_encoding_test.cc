#include "bridge/wire/text_encoding.h"

#include <vector>

#include "bridge/wire/content_size.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

using ::testing::Eq;

constexpr absl::string_view kBytes("\0\xff\x10secret", 9);

TEST(TextEncoding, DecodesWhatItEncodes) {
  for (const TextEncoding encoding :
       {TextEncoding::kBinary, TextEncoding::kHex, TextEncoding::kBase64, TextEncoding::kPem}) {
    const std::string text = EncodeText(encoding, kBytes);
    EXPECT_EQ(DecodeText(encoding, text), kBytes);
    EXPECT_EQ(TextSize(encoding, kBytes.size()), text.size());
  }
}

TEST(TextEncoding, IgnoresWhatFillsAFieldUp) {
  for (const TextEncoding encoding :
       {TextEncoding::kHex, TextEncoding::kBase64, TextEncoding::kPem}) {
    for (const absl::string_view fill :
         {absl::string_view("\0\0", 2), absl::string_view("\0junk!", 6),
          absl::string_view("  \r\n")}) {
      EXPECT_EQ(DecodeText(encoding, EncodeText(encoding, kBytes) + std::string(fill)), kBytes);
    }
  }
  EXPECT_EQ(DecodeText(TextEncoding::kBinary, absl::string_view("a\0", 2)),
            absl::string_view("a\0", 2));
}

TEST(TextEncoding, TakesLineBreaksInBase64AndPem) {
  EXPECT_EQ(DecodeText(TextEncoding::kBase64, "c2Vj\r\ncmV0\n"), "secret");
  EXPECT_EQ(DecodeText(TextEncoding::kPem,
                       "-----BEGIN PUBLIC KEY-----\nc2Vj\ncmV0\n-----END PUBLIC KEY-----\n"),
            "secret");
}

TEST(TextEncoding, RefusesWhatItIsNot) {
  for (const char* text : {"abc", "xy", "0g", "ab cd"})
    EXPECT_THAT(DecodeText(TextEncoding::kHex, text), Eq(std::nullopt)) << text;
  for (const char* text : {"abc", "ab=c", "a+-_", "c2Vj cmV0", "c2Vj===="})
    EXPECT_THAT(DecodeText(TextEncoding::kBase64, text), Eq(std::nullopt)) << text;
}

TEST(TextEncoding, KnowsHowMuchCiphertextABodyIs) {
  std::vector<ContentTraits> contents = {{.text = TextEncoding::kBinary},
                                         {.text = TextEncoding::kHex},
                                         {.text = TextEncoding::kBase64}};
  for (const uint64_t width : {4u, 64u, 72u, 76u, 1024u}) {
    for (const uint64_t line_break : {1u, 2u}) {
      for (const bool at_end : {false, true})
        contents.push_back({TextEncoding::kBase64, width, line_break, at_end});
    }
  }
  for (const ContentTraits& content : contents) {
    for (uint64_t size = 16; size < 16384; size += 16) {
      const uint64_t body_size = BodySizeOfCiphertext(content, size);
      ASSERT_EQ(CiphertextSizeOfBody(content, body_size), size)
          << content.text_line_width << " " << content.text_line_break_size << " " << body_size;
      if (content.text != TextEncoding::kBinary) {
        ASSERT_EQ(CiphertextSizeOfBody(content, body_size + 1), std::nullopt) << size;
      }
    }
  }
}

}  // namespace
}  // namespace backup::wire
