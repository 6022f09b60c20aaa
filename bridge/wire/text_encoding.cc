#include "bridge/wire/text_encoding.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/hex.h"

namespace backup::wire {
namespace {

constexpr uint64_t kCipherBlockSize = 16;

absl::string_view WithoutEnd(absl::string_view field) {
  field = field.substr(0, field.find('\0'));
  const size_t last = field.find_last_not_of(" \r\n\t");
  return last == absl::string_view::npos ? "" : field.substr(0, last + 1);
}

// What is between the lines that begin and end it.
std::string BodyOfPem(absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  std::erase_if(lines, [](absl::string_view line) { return absl::StartsWith(line, "-----"); });
  return absl::StrJoin(lines, "");
}

std::optional<std::string> DecodeBase64(absl::string_view text) {
  const std::string joined = absl::StrReplaceAll(text, {{"\r", ""}, {"\n", ""}});
  std::string bytes;
  if (joined.size() % 4 != 0 || absl::StrContains(joined, ' ') ||
      !absl::Base64Unescape(joined, &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace

std::optional<std::string> DecodeText(TextEncoding encoding, absl::string_view field) {
  switch (encoding) {
    case TextEncoding::kBinary:
      return std::string(field);
    case TextEncoding::kHex:
      return HexToBytes(WithoutEnd(field));
    case TextEncoding::kBase64:
      return DecodeBase64(WithoutEnd(field));
    case TextEncoding::kPem:
      return DecodeBase64(BodyOfPem(WithoutEnd(field)));
  }
  return std::nullopt;
}

std::string EncodeText(TextEncoding encoding, absl::string_view bytes) {
  switch (encoding) {
    case TextEncoding::kBinary:
      return std::string(bytes);
    case TextEncoding::kHex:
      return absl::BytesToHexString(bytes);
    case TextEncoding::kBase64:
    case TextEncoding::kPem:
      return absl::Base64Escape(bytes);
  }
  return "";
}

uint64_t TextSize(TextEncoding encoding, uint64_t size) {
  switch (encoding) {
    case TextEncoding::kBinary:
      return size;
    case TextEncoding::kHex:
      return 2 * size;
    case TextEncoding::kBase64:
    case TextEncoding::kPem:
      return (size + 2) / 3 * 4;
  }
  return size;
}

uint64_t CiphertextSizeOfText(TextEncoding encoding, uint64_t size) {
  switch (encoding) {
    case TextEncoding::kBinary:
      return size;
    case TextEncoding::kHex:
      return size / 2;
    case TextEncoding::kBase64:
    case TextEncoding::kPem:
      return size / 4 * 3 / kCipherBlockSize * kCipherBlockSize;
  }
  return size;
}

}  // namespace backup::wire
