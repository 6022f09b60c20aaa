#include "services/backupctl/safe_path.h"

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cwchar>
#include <cwctype>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/name_text.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "services/backupctl/local_file.h"
#include "services/backupctl/utf8_scope.h"

namespace backup::ctl {
namespace {

constexpr absl::string_view kForbiddenInPortable = "/\\:*?\"<>|";
constexpr size_t kHashSize = 8;  // Bytes of the SHA-256 that a shortened name ends in.

std::string Escape(char c) { return absl::StrFormat("%%%02X", static_cast<uint8_t>(c)); }

// What Windows takes for a device, in any case and with any ending.
bool IsDeviceName(absl::string_view text) {
  const absl::string_view before_dot = text.substr(0, text.find('.'));
  const std::string stem = absl::AsciiStrToUpper(absl::StripTrailingAsciiWhitespace(before_dot));
  for (const char* device : {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}) {
    if (stem == device) return true;
  }
  return stem.size() == 4 && (absl::StartsWith(stem, "COM") || absl::StartsWith(stem, "LPT")) &&
         absl::ascii_isdigit(stem[3]);
}

// At most `size` bytes of `text`, without a part of a UTF-8 character or of a "%XX" at the end.
absl::string_view CutText(absl::string_view text, size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (text[size] & 0xC0) == 0x80) --size;
  text = text.substr(0, size);
  const size_t escape = text.rfind('%');
  if (escape != absl::string_view::npos && escape + 3 > text.size()) text = text.substr(0, escape);
  return text;
}

std::string Shorten(absl::string_view text, absl::string_view name, const NameRules& rules) {
  crypto::Sha256 hash;
  hash.Update(name);
  const std::string end =
      absl::StrCat("~", absl::BytesToHexString(hash.Finish().substr(0, kHashSize)));
  return absl::StrCat(CutText(text, rules.max_component_size - end.size()), end);
}

bool IsDots(absl::string_view component) { return component == "." || component == ".."; }

std::string EscapeForLinux(absl::string_view name) {
  const absl::string_view forbidden =
      IsDots(name) || IsPartName(name) ? absl::string_view(".") : absl::string_view("/\0", 2);
  std::string safe;
  for (const char c : name)
    absl::StrAppend(&safe, absl::StrContains(forbidden, absl::string_view(&c, 1)) || c == '%'
                               ? Escape(c)
                               : std::string(1, c));
  return safe;
}

std::string EscapeForAll(absl::string_view name) {
  const std::string text = NameToText(name);
  const bool special = IsDots(text) || IsDeviceName(text) || IsPartName(text);
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool bad_first = i == 0 && special;
    const bool bad_last = i + 1 == text.size() && (c == '.' || c == ' ');
    if (bad_first || bad_last || absl::StrContains(kForbiddenInPortable, absl::string_view(&c, 1)))
      absl::StrAppend(&safe, Escape(c));
    else
      safe.push_back(c);
  }
  return safe;
}

}  // namespace

absl::string_view NaturalPath(absl::string_view name) {
  return name.substr(std::min(name.find_first_not_of('/'), name.size()));
}

std::string SafeComponent(absl::string_view name, const NameRules& rules) {
  CHECK(!name.empty());
  const std::string escaped = rules.portable ? EscapeForAll(name) : EscapeForLinux(name);
  // "%" alone is no reason for another name.
  const bool harmless = escaped == absl::StrReplaceAll(name, {{"%", "%25"}});
  if (harmless && name.size() <= rules.max_component_size) return std::string(name);
  return escaped.size() <= rules.max_component_size ? escaped : Shorten(escaped, name, rules);
}

std::vector<std::string> SafePaths(absl::string_view name, const NameRules& rules) {
  std::vector<std::string> paths;
  std::vector<std::string> components = absl::StrSplit(NaturalPath(name), '/');
  const bool leads_below = std::none_of(
      components.begin(), components.end(),
      [](const std::string& component) { return component.empty() || IsDots(component); });
  if (leads_below) {
    for (std::string& component : components) component = SafeComponent(component, rules);
    paths.push_back(absl::StrJoin(components, "/"));
  }
  std::string single = SafeComponent(name, rules);
  if (paths.empty() || paths[0] != single) paths.push_back(std::move(single));
  return paths;
}

std::string SafeBaseName(absl::string_view name) {
  const size_t separator = name.find_last_of("/\\:");
  const absl::string_view last =
      separator == absl::string_view::npos ? name : name.substr(separator + 1);
  return SafeComponent(last.empty() ? name : last, NameRules());
}

std::string NumberedPath(absl::string_view path, int number, const NameRules& rules) {
  const size_t separator = path.rfind('/');
  const size_t start = separator == absl::string_view::npos ? 0 : separator + 1;
  const std::string end = absl::StrCat("~", number);
  return absl::StrCat(path.substr(0, start),
                      CutText(path.substr(start), rules.max_component_size - end.size()), end);
}

std::string FoldCase(absl::string_view path) {
  const Utf8Scope characters_are_utf8;
  std::string folded;
  while (!path.empty()) {
    wchar_t character = 0;
    std::mbstate_t state = {};
    const size_t size = std::mbrtowc(&character, path.data(), path.size(), &state);
    const bool valid = size > 0 && size <= path.size();
    char lower[MB_LEN_MAX];
    const size_t lower_size =
        valid ? std::wcrtomb(lower, static_cast<wchar_t>(std::towlower(character)), &state) : 0;
    absl::StrAppend(&folded, valid ? absl::string_view(lower, lower_size) : path.substr(0, 1));
    path.remove_prefix(valid ? size : 1);
  }
  return folded;
}

}  // namespace backup::ctl
