#include "base/printable.h"

#include <string>

#include "base/name_text.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(Printable, LetsThroughWhatShowsAsItIs) {
  for (const char* text : {"", "notes.txt", "caf\u00e9", "\u65e5\u672c", "e\u0301", "\U0001F600",
                           "100%25", "\u0627\u0644"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(Printable, EscapesWhatSteersHidesOrIsNoText) {
  for (const char* hidden :
       {"\x1b",   "\n",     "\t",     "\x7f",   "\xff",       "\xc3",      "\u0085",
        "\u009b", "\u00a0", "\u00ad", "\u061c", "\u200b",     "\u200d",    "\u200e",
        "\u200f", "\u2028", "\u2029", "\u202a", "\u202e",     "\u2060",    "\u2066",
        "\u2069", "\ufeff", "\ufe0f", "\u3000", "\U000E0041", "\U000E0100"}) {
    const std::string name = std::string("a") + hidden + "b";
    const std::string printable = Printable(name);
    EXPECT_EQ(printable.find(hidden), std::string::npos) << printable;
    // What was shown may be given back.
    const auto back = TextToName(printable);
    ASSERT_OK(back);
    EXPECT_EQ(*back, name);
  }
  EXPECT_EQ(Printable("a\u202eb"), "a%E2%80%AEb");
}

TEST(PrintableLines, KeepsLineFeeds) { EXPECT_EQ(PrintableLines("a\nb\r\n"), "a\nb%0D\n"); }

TEST(DisplayWidth, CountsColumns) {
  EXPECT_EQ(DisplayWidth("caf\u00e9"), 4U);
  EXPECT_EQ(DisplayWidth("\u65e5\u672c"), 4U);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1U);
}

TEST(FitToWidth, CutsAtAColumn) {
  EXPECT_EQ(FitToWidth("12345", 5, Cut::kEnd), "12345");
  EXPECT_EQ(FitToWidth("123456", 5, Cut::kEnd), "1234\u2026");
  EXPECT_EQ(FitToWidth("123456", 5, Cut::kMiddle), "12\u202656");
  EXPECT_EQ(FitToWidth("\u65e5\u672c\u8a9e", 4, Cut::kEnd), "\u65e5\u2026");
  EXPECT_EQ(FitToWidth("abcde\u0301", 4, Cut::kMiddle), "ab\u2026e\u0301");
  EXPECT_EQ(FitToWidth("12", 1, Cut::kMiddle), "\u2026");
}

}  // namespace
}  // namespace backup
