#include "base/name_text.h"

#include <cstdint>
#include <random>
#include <string>

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::StatusIs;

// True if `text` can go to a terminal or a log line as far as single bytes can tell.
bool HasNoAsciiControls(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) return false;
  }
  return true;
}

TEST(NameToText, LeavesPrintableUtf8Alone) {
  for (const char* name :
       {"report.txt", "a b/c\\d\"e'", "\u00A0", "Zo\u00EB", "\u05E9\u05DC\u05D5\u05DD",
        "\uD7FF\uE000\uFFFD", "\U00010000", "\U0001F600", "\U0010FFFF"}) {
    EXPECT_EQ(NameToText(name), name);
    EXPECT_THAT(TextToName(name), IsOkAndHolds(name));
  }
}

TEST(NameToText, EscapesPercentAndControlCharacters) {
  EXPECT_EQ(NameToText("100%"), "100%25");
  EXPECT_EQ(NameToText("%41"), "%2541");
  EXPECT_EQ(NameToText(absl::string_view("a\0b", 3)), "a%00b");
  EXPECT_EQ(NameToText("\t\r\n\x1B\x7F"), "%09%0D%0A%1B%7F");
  EXPECT_EQ(NameToText("\xC2\x80\xC2\x9F"), "%C2%80%C2%9F");  // U+0080, U+009F.
}

TEST(NameToText, EscapesEveryByteThatIsNoUtf8) {
  EXPECT_EQ(NameToText("\x80"), "%80");
  EXPECT_EQ(NameToText("\xFF\xFE"), "%FF%FE");
  EXPECT_EQ(NameToText("\xC3"), "%C3");                       // Cut short.
  EXPECT_EQ(NameToText("\xE2\x82"), "%E2%82");                // Cut short.
  EXPECT_EQ(NameToText("\xC3(x"), "%C3(x");                   // Wrong second byte.
  EXPECT_EQ(NameToText("\xC0\xAF"), "%C0%AF");                // Overlong '/'.
  EXPECT_EQ(NameToText("\xC1\xBF"), "%C1%BF");                // Overlong.
  EXPECT_EQ(NameToText("\xE0\x9F\xBF"), "%E0%9F%BF");         // Overlong.
  EXPECT_EQ(NameToText("\xF0\x8F\xBF\xBF"), "%F0%8F%BF%BF");  // Overlong.
  EXPECT_EQ(NameToText("\xED\xA0\x80"), "%ED%A0%80");         // Surrogate U+D800.
  EXPECT_EQ(NameToText("\xED\xBF\xBF"), "%ED%BF%BF");         // Surrogate U+DFFF.
  EXPECT_EQ(NameToText("\xF4\x90\x80\x80"), "%F4%90%80%80");  // Above U+10FFFF.
  EXPECT_EQ(NameToText("\xF5\x80\x80\x80"), "%F5%80%80%80");
}

TEST(NameText, IsReversibleForEveryTwoBytes) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string name = {static_cast<char>(first), static_cast<char>(second)};
      const std::string text = NameToText(name);
      ASSERT_THAT(TextToName(text), IsOkAndHolds(name)) << first << " " << second;
      ASSERT_TRUE(HasNoAsciiControls(text)) << first << " " << second;
    }
  }
}

TEST(NameText, IsReversibleForRandomBytesOfEverySize) {
  for (size_t size = 1; size <= kMaxNameSize; ++size) {
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const std::string name = PseudoRandomBytes(size, seed * 1000 + static_cast<uint32_t>(size));
      ASSERT_THAT(TextToName(NameToText(name)), IsOkAndHolds(name)) << size << " " << seed;
    }
  }
}

TEST(NameText, IsReversibleForBytesThatAreNearlyUtf8) {
  constexpr absl::string_view kInteresting(
      "\x00\x1F%A\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xED\xEF\xF0\xF4\xF5", 20);
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    std::string name(1 + random() % 6, '\0');
    for (char& c : name) c = kInteresting[random() % kInteresting.size()];
    ASSERT_THAT(TextToName(NameToText(name)), IsOkAndHolds(name)) << NameToText(name);
  }
}

TEST(TextToName, ReadsHexDigitsOfEitherCase) {
  EXPECT_THAT(TextToName("%c3%AB%2f"), IsOkAndHolds("\xC3\xAB/"));
}

TEST(TextToName, RefusesAPercentWithoutTwoHexDigits) {
  for (const char* text : {"%", "a%", "%4", "%4g", "%g4", "%%25", "% 41", "%-1"}) {
    EXPECT_THAT(TextToName(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(TextToName, RefusesRawControlCharactersAndBytesThatAreNotUtf8) {
  for (const absl::string_view text :
       {absl::string_view("a\0b", 3), absl::string_view("\n"), absl::string_view("\x7F"),
        absl::string_view("\xC2\x85"), absl::string_view("\xFF"), absl::string_view("\xC0\xAF"),
        absl::string_view("\xED\xA0\x80"), absl::string_view("a\xE2\x82")}) {
    EXPECT_THAT(TextToName(text), StatusIs(absl::StatusCode::kInvalidArgument)) << NameToText(text);
  }
}

TEST(TextToName, RefusesNamesThatAreEmptyOrTooLong) {
  EXPECT_THAT(TextToName(""), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::string longest(kMaxNameSize, 'n');
  EXPECT_THAT(TextToName(longest), IsOkAndHolds(longest));
  EXPECT_THAT(TextToName(longest + "n"), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::string longest_escaped = NameToText(std::string(kMaxNameSize, '\xFF'));
  EXPECT_EQ(longest_escaped.size(), 3 * kMaxNameSize);
  EXPECT_OK(TextToName(longest_escaped));
  EXPECT_THAT(TextToName(longest_escaped + "%FF"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup
