#include "base/printable.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace backup {
namespace {

constexpr absl::string_view kEllipsis = "\xE2\x80\xA6";

struct Range {
  char32_t first;
  char32_t last;
};
// What shows nothing, or changes how other characters show (Unicode 15: Cc, Zl, Zp, Zs, invisible
// ones of Cf, Default_Ignorable_Code_Point, and blank letters). In order.
constexpr Range kInvisible[] = {
    {0x0000, 0x001F},   {0x007F, 0x00A0},   {0x00AD, 0x00AD}, {0x034F, 0x034F}, {0x061C, 0x061C},
    {0x115F, 0x1160},   {0x1680, 0x1680},   {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x2000, 0x200F},
    {0x2028, 0x202F},   {0x205F, 0x206F},   {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164},
    {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

bool IsInvisible(char32_t character) {
  const auto* range =
      std::lower_bound(std::begin(kInvisible), std::end(kInvisible), character,
                       [](const Range& each, char32_t value) { return each.last < value; });
  return range != std::end(kInvisible) && range->first <= character;
}

// The C library knows widths, but only in a locale of UTF-8, which the process may not be in.
class Utf8Locale {
 public:
  Utf8Locale() : utf8_(Made()), before_(utf8_ == nullptr ? nullptr : ::uselocale(utf8_)) {}
  ~Utf8Locale() {
    if (before_ != nullptr) ::uselocale(before_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

  size_t WidthOf(char32_t character) const {
    const int width = utf8_ == nullptr ? 1 : ::wcwidth(static_cast<wchar_t>(character));
    return width < 0 ? 1 : static_cast<size_t>(width);
  }

 private:
  static locale_t Made() {
    static const locale_t made = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return made;
  }

  const locale_t utf8_;
  const locale_t before_;
};

std::string Escaped(absl::string_view text, bool keeps_line_feeds) {
  const auto is_plain = [&](char c) {
    return (c >= ' ' && c <= '~') || (keeps_line_feeds && c == '\n');
  };
  if (std::all_of(text.begin(), text.end(), is_plain)) return std::string(text);
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character character = FrontOfUtf8(text);
    const size_t size = std::max<size_t>(character.size, 1);
    if (keeps_line_feeds && text[0] == '\n') {
      printable.push_back('\n');
    } else if (character.size > 0 && !IsInvisible(character.code_point)) {
      absl::StrAppend(&printable, text.substr(0, size));
    } else {
      for (const char byte : text.substr(0, size))
        absl::StrAppendFormat(&printable, "%%%02X", static_cast<uint8_t>(byte));
    }
    text.remove_prefix(size);
  }
  return printable;
}

// The longest beginning of `text` that fits into `width` columns.
absl::string_view Beginning(absl::string_view text, size_t width, const Utf8Locale& locale) {
  size_t end = 0;
  while (end < text.size()) {
    const Utf8Character character = FrontOfUtf8(text.substr(end));
    const size_t columns = locale.WidthOf(character.code_point);
    if (columns > width) break;
    width -= columns;
    end += std::max<size_t>(character.size, 1);
  }
  return text.substr(0, end);
}

// The longest end that fits.
absl::string_view End(absl::string_view text, size_t width, const Utf8Locale& locale) {
  while (!text.empty()) {
    if (Beginning(text, width, locale).size() == text.size()) break;
    text.remove_prefix(std::max<size_t>(FrontOfUtf8(text).size, 1));
  }
  // A mark without the character that it belongs to would join the ellipsis.
  while (!text.empty() && locale.WidthOf(FrontOfUtf8(text).code_point) == 0)
    text.remove_prefix(std::max<size_t>(FrontOfUtf8(text).size, 1));
  return text;
}

}  // namespace

std::string Printable(absl::string_view text) { return Escaped(text, /*keeps_line_feeds=*/false); }

std::string PrintableLines(absl::string_view text) {
  return Escaped(text, /*keeps_line_feeds=*/true);
}

size_t DisplayWidth(absl::string_view text) {
  const Utf8Locale locale;
  size_t width = 0;
  while (!text.empty()) {
    const Utf8Character character = FrontOfUtf8(text);
    width += locale.WidthOf(character.code_point);
    text.remove_prefix(std::max<size_t>(character.size, 1));
  }
  return width;
}

absl::string_view FrontOfWidth(absl::string_view text, size_t width) {
  return Beginning(text, width, Utf8Locale());
}

std::string FitToWidth(absl::string_view text, size_t width, Cut cut) {
  if (DisplayWidth(text) <= width) return std::string(text);
  const Utf8Locale locale;
  const size_t room = width - 1;
  const size_t end = cut == Cut::kMiddle ? room / 2 : 0;
  return absl::StrCat(Beginning(text, room - end, locale), kEllipsis, End(text, end, locale));
}

}  // namespace backup
