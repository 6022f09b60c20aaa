#include "base/name_text.h"

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace backup {
namespace {

// Size of the well-formed UTF-8 character (Unicode 15, table 3-7) at the front of `bytes`; 0 if
// there is none or it is a control character.
size_t PrintableCharacterSize(absl::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return absl::ascii_iscntrl(lead) ? 0 : 1;
  const size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || bytes.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_large = lead == 0xF4 && second > 0x8F;
  const bool c1_control = lead == 0xC2 && second < 0xA0;
  return overlong || surrogate || too_large || c1_control ? 0 : size;
}

}  // namespace

std::string NameToText(absl::string_view name) {
  std::string text;
  text.reserve(name.size());
  while (!name.empty()) {
    const size_t size = PrintableCharacterSize(name);
    if (size == 0 || name[0] == '%') {
      absl::StrAppendFormat(&text, "%%%02X", static_cast<uint8_t>(name[0]));
      name.remove_prefix(1);
    } else {
      absl::StrAppend(&text, name.substr(0, size));
      name.remove_prefix(size);
    }
  }
  return text;
}

absl::StatusOr<std::string> TextToName(absl::string_view text) {
  std::string name;
  while (!text.empty()) {
    if (text[0] == '%') {
      if (text.size() < 3 || !absl::ascii_isxdigit(text[1]) || !absl::ascii_isxdigit(text[2])) {
        return absl::InvalidArgumentError(
            "a '%' must be followed by two hex digits ('%' itself is \"%25\")");
      }
      name += absl::HexStringToBytes(text.substr(1, 2));
      text.remove_prefix(3);
    } else {
      const size_t size = PrintableCharacterSize(text);
      if (size == 0) {
        return absl::InvalidArgumentError(
            "control characters and bytes that are not UTF-8 must be written as \"%XX\"");
      }
      absl::StrAppend(&name, text.substr(0, size));
      text.remove_prefix(size);
    }
  }
  if (name.empty()) return absl::InvalidArgumentError("a name must not be empty");
  if (name.size() > kMaxNameSize) {
    return absl::InvalidArgumentError(absl::StrCat("a name has at most ", kMaxNameSize, " bytes"));
  }
  return name;
}

}  // namespace backup
