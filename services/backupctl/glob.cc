#include "services/backupctl/glob.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "re2/re2.h"

namespace backup::ctl {
namespace {

// For a byte that a name's text has as "%XX", so that it is one character for `?` too: one of plane
// 16, which is for private use.
std::string PrivateCharacter(uint8_t byte) {
  const char character[] = {'\xF4', '\x80', static_cast<char>(0x80 | (byte >> 6)),
                            static_cast<char>(0x80 | (byte & 0x3F))};
  return std::string(character, sizeof character);
}

// A name's text with one character for each "%XX".
std::string Characters(absl::string_view text) {
  std::string characters;
  while (!text.empty()) {
    const std::optional<std::string> byte =
        text[0] == '%' ? HexToBytes(text.substr(1, 2)) : std::nullopt;
    if (byte && byte->size() == 1) {
      characters += PrivateCharacter(static_cast<uint8_t>((*byte)[0]));
      text.remove_prefix(3);
    } else {
      characters.push_back(text[0]);
      text.remove_prefix(1);
    }
  }
  return characters;
}

// The regular expression of the class that `glob` begins with, which is taken off; empty if it is
// not closed.
std::string TakeClass(absl::string_view& glob) {
  size_t end = glob.find(']', 1);
  const bool negated = absl::StartsWith(glob, "[!") || absl::StartsWith(glob, "[^");
  const size_t begin = negated ? 2 : 1;
  if (end == begin) end = glob.find(']', begin + 1);  // "[]a]" has a "]" in it.
  if (end == absl::string_view::npos) return "";
  std::string expression = negated ? "[^/" : "[";
  const absl::string_view items = glob.substr(begin, end - begin);
  // Else it would make a range with the "/" before it.
  if (items[0] == '-') expression.push_back('\\');
  for (const char c : items) {
    if (c == '[' || c == ']' || c == '\\' || c == '^') expression.push_back('\\');
    expression.push_back(c);
  }
  glob.remove_prefix(end + 1);
  return expression + "]";
}

// Empty if a class is not closed.
std::string RegularExpression(absl::string_view glob) {
  std::string expression;
  while (!glob.empty()) {
    if (absl::ConsumePrefix(&glob, "**/")) {
      expression += "(?:.*/)?";
    } else if (absl::ConsumePrefix(&glob, "**")) {
      expression += ".*";
    } else if (absl::ConsumePrefix(&glob, "*")) {
      expression += "[^/]*";
    } else if (absl::ConsumePrefix(&glob, "?")) {
      expression += "[^/]";
    } else if (glob[0] == '[') {
      const std::string of_class = TakeClass(glob);
      if (of_class.empty()) return "";
      expression += of_class;
    } else {
      const size_t size = std::min(glob.find_first_of("*?["), glob.size());
      expression += RE2::QuoteMeta(re2::StringPiece(glob.data(), size));
      glob.remove_prefix(size);
    }
  }
  return expression;
}

}  // namespace

Glob::Glob(std::string text, std::unique_ptr<re2::RE2> pattern)
    : text_(std::move(text)), pattern_(std::move(pattern)) {}
Glob::Glob(Glob&&) noexcept = default;
Glob& Glob::operator=(Glob&&) noexcept = default;
Glob::~Glob() = default;

absl::StatusOr<Glob> Glob::Parse(absl::string_view text) {
  const absl::StatusOr<std::string> name = TextToName(text);
  if (!name.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        text, " is no pattern of names as `file list` shows them: ", name.status().message()));
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  auto pattern = std::make_unique<RE2>(RegularExpression(Characters(NameToText(*name))), options);
  if (!pattern->ok() || pattern->pattern().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(text, " is no pattern: `[` begins a class such as [a-z]; [[] means itself"));
  }
  return Glob(std::string(text), std::move(pattern));
}

bool Glob::Matches(absl::string_view name) const {
  return name == text_ || RE2::FullMatch(Characters(name), *pattern_);
}

}  // namespace backup::ctl
