#include "services/backupctl/old_server/python_bytes.h"

#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace backup::ctl::old_server {
namespace {

constexpr size_t kMaxOctalDigits = 3;

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// Escapes of one letter; nothing if the letter is none of them.
std::optional<char> SimpleEscape(char letter) {
  switch (letter) {
    case '\\':
    case '\'':
    case '"':
      return letter;
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return std::nullopt;
  }
}

// Takes an escape, whose backslash was taken, off the front of `rest`. False if it is none.
bool TakeEscape(absl::string_view& rest, std::string& out) {
  if (rest.empty()) return false;
  // A line that goes on.
  if (absl::ConsumePrefix(&rest, "\r\n") || absl::ConsumePrefix(&rest, "\n")) return true;
  if (const std::optional<char> simple = SimpleEscape(rest.front())) {
    out.push_back(*simple);
    rest.remove_prefix(1);
    return true;
  }
  if (rest.front() == 'x') {
    if (rest.size() < 3 || !absl::ascii_isxdigit(static_cast<unsigned char>(rest[1])) ||
        !absl::ascii_isxdigit(static_cast<unsigned char>(rest[2]))) {
      return false;
    }
    unsigned value = 0;
    std::from_chars(rest.data() + 1, rest.data() + 3, value, 16);
    out.push_back(static_cast<char>(value));
    rest.remove_prefix(3);
    return true;
  }
  if (IsOctal(rest.front())) {
    unsigned value = 0;
    for (size_t i = 0; i < kMaxOctalDigits && !rest.empty() && IsOctal(rest.front()); ++i) {
      value = value * 8 + static_cast<unsigned>(rest.front() - '0');
      rest.remove_prefix(1);
    }
    out.push_back(static_cast<char>(value & 0xFF));  // As Python does.
    return true;
  }
  out.push_back('\\');  // To Python an unknown escape is a backslash and what follows it.
  return true;
}

}  // namespace

std::optional<std::string> ParsePythonBytes(absl::string_view text) {
  if (text.size() < 3 || (text[0] != 'b' && text[0] != 'B')) return std::nullopt;
  const char quote = text[1];
  if ((quote != '\'' && quote != '"') || text.back() != quote) return std::nullopt;
  absl::string_view rest = text.substr(2);
  std::string bytes;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == quote) {
      if (rest.empty()) return bytes;
      return std::nullopt;
    }
    if (c == '\\') {
      if (!TakeEscape(rest, bytes)) return std::nullopt;
      continue;
    }
    // What is not ASCII, and an end of line, cannot stand in a literal.
    if (static_cast<unsigned char>(c) >= 0x80 || c == '\n' || c == '\r') return std::nullopt;
    bytes.push_back(c);
  }
  return std::nullopt;
}

}  // namespace backup::ctl::old_server
