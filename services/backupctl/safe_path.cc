#include "services/backupctl/safe_path.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/name_text.h"
#include "crypto/sha256.h"
#include "glog/logging.h"

namespace backup::ctl {
namespace {

constexpr absl::string_view kForbidden = "/\\:*?\"<>|";
constexpr size_t kHashSize = 8;  // Bytes of the SHA-256 that a shortened name ends in.

std::string Escape(char c) { return absl::StrFormat("%%%02X", static_cast<uint8_t>(c)); }

// What Windows takes for a device, in any case and with any ending.
bool IsDeviceName(absl::string_view text) {
  const absl::string_view before_dot = text.substr(0, text.find('.'));
  const std::string stem = absl::AsciiStrToUpper(absl::StripTrailingAsciiWhitespace(before_dot));
  if (stem == "CON" || stem == "PRN" || stem == "AUX" || stem == "NUL") return true;
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

std::string Shorten(absl::string_view text, absl::string_view name) {
  crypto::Sha256 hash;
  hash.Update(name);
  const std::string end =
      absl::StrCat("~", absl::BytesToHexString(hash.Finish().substr(0, kHashSize)));
  return absl::StrCat(CutText(text, kMaxComponentSize - end.size()), end);
}

}  // namespace

std::string SafeComponent(absl::string_view name) {
  CHECK(!name.empty());
  const std::string text = NameToText(name);
  const bool special = text == "." || text == ".." || text[0] == '-' || IsDeviceName(text);
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool bad_first = i == 0 && special;
    const bool bad_last = i + 1 == text.size() && (c == '.' || c == ' ');
    if (bad_first || bad_last || absl::StrContains(kForbidden, absl::string_view(&c, 1))) {
      absl::StrAppend(&safe, Escape(c));
    } else {
      safe.push_back(c);
    }
  }
  return safe.size() <= kMaxComponentSize ? safe : Shorten(safe, name);
}

std::vector<std::string> SafePaths(absl::string_view name) {
  const std::string single = SafeComponent(name);
  const absl::string_view relative = absl::StripPrefix(name, "/");
  const std::vector<absl::string_view> components = absl::StrSplit(relative, '/');
  const bool harmless =
      std::all_of(components.begin(), components.end(), [](absl::string_view component) {
        return !component.empty() && SafeComponent(component) == component;
      });
  if (!harmless || relative == single) return {single};
  return {std::string(relative), single};
}

std::string SafeBaseName(absl::string_view name) {
  const size_t separator = name.find_last_of("/\\:");
  const absl::string_view last =
      separator == absl::string_view::npos ? name : name.substr(separator + 1);
  return SafeComponent(last.empty() ? name : last);
}

std::string NumberedPath(absl::string_view path, int number) {
  const size_t separator = path.rfind('/');
  const size_t start = separator == absl::string_view::npos ? 0 : separator + 1;
  const std::string end = absl::StrCat("~", number);
  return absl::StrCat(path.substr(0, start),
                      CutText(path.substr(start), kMaxComponentSize - end.size()), end);
}

}  // namespace backup::ctl
