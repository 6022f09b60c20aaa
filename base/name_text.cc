#include "base/name_text.h"

#include <cstdint>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hex.h"
#include "base/utf8.h"

namespace backup {
namespace {

// Size of the well-formed UTF-8 character at the front of `bytes`; 0 if there is none or it is a
// control character.
size_t PrintableCharacterSize(absl::string_view bytes) {
  const Utf8Character character = FrontOfUtf8(bytes);
  const bool is_control =
      character.code_point < 0x20 || (character.code_point >= 0x7F && character.code_point < 0xA0);
  return is_control ? 0 : character.size;
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
      const std::optional<std::string> byte = HexToBytes(text.substr(1, 2));
      if (text.size() < 3 || !byte) {
        return absl::InvalidArgumentError(
            "a '%' must be followed by two hex digits ('%' itself is \"%25\")");
      }
      name += *byte;
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
