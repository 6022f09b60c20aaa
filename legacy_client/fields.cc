#include "legacy_client/fields.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "glog/logging.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::ByteOrder;
using bridge::v1::Field;
using bridge::v1::TextEncoding;

constexpr size_t kPemLineSize = 64;  // RFC 7468.

bool IsBig(const Field& field, ByteOrder default_order) {
  const ByteOrder order =
      field.byte_order() == bridge::v1::BYTE_ORDER_UNSPECIFIED ? default_order : field.byte_order();
  return order == bridge::v1::BIG;
}

bool IsVisible(char c) { return c != ' ' && c != '\0' && c != '\r' && c != '\n'; }

std::string Pem(absl::string_view bytes, absl::string_view label) {
  std::string pem = absl::StrCat("-----BEGIN ", label, "-----\n");
  const std::string base64 = absl::Base64Escape(bytes);
  for (size_t at = 0; at < base64.size(); at += kPemLineSize) {
    absl::StrAppend(&pem, base64.substr(at, kPemLineSize), "\n");
  }
  return absl::StrCat(pem, "-----END ", label, "-----\n");
}

}  // namespace

bool IsInteger(Field::Kind kind) {
  switch (kind) {
    case Field::VERSION:
    case Field::CODE:
    case Field::PAYLOAD_SIZE:
    case Field::CONTENT_SIZE:
    case Field::ORIGINAL_SIZE:
    case Field::PACKET_NUMBER:
    case Field::PACKET_TOTAL:
    case Field::CHECKSUM:
    case Field::CONSTANT:
      return true;
    default:
      return false;
  }
}

int64_t MaxOf(const Field& field) {
  return field.width() >= sizeof(int64_t) ? std::numeric_limits<int64_t>::max()
                                          : (int64_t{1} << (8 * field.width())) - 1;
}

uint32_t RoomIn(const Field& field) {
  return field.width() == 0 ? field.max_width() : field.width();
}

void AppendInteger(const Field& field, ByteOrder default_order, uint64_t value, std::string& out) {
  const bool is_big = IsBig(field, default_order);
  for (uint32_t i = 0; i < field.width(); ++i) {
    const uint32_t byte = is_big ? field.width() - 1 - i : i;
    out.push_back(static_cast<char>(value >> (8 * byte)));
  }
}

uint64_t DecodeInteger(const Field& field, ByteOrder default_order, absl::string_view bytes) {
  CHECK_EQ(bytes.size(), field.width());
  const bool is_big = IsBig(field, default_order);
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[is_big ? i : bytes.size() - 1 - i]);
  }
  return value;
}

void AppendFilled(const Field& field, absl::string_view bytes, std::string& out) {
  CHECK_LE(bytes.size(), RoomIn(field));
  absl::StrAppend(&out, bytes);
  if (field.width() != 0) out.append(field.width() - bytes.size(), static_cast<char>(field.fill()));
}

void AppendName(const Field& field, absl::string_view name, std::string& out) {
  std::string ended(name);
  if (name.size() < RoomIn(field)) {
    if (field.name_end() == Field::AT_LINE_FEED) ended.push_back('\n');
    if (field.name_end() == Field::AT_NUL && field.width() != 0) ended.push_back('\0');
  }
  AppendFilled(field, ended, out);
}

bool HoldsName(const Field& field, absl::string_view name) {
  if (name.size() > RoomIn(field) || absl::StrContains(name, '\0')) return false;
  switch (field.name_end()) {
    case Field::AT_LINE_FEED:
      return !absl::StrContains(name, '\n') && (name.empty() || name.back() != '\r');
    case Field::AT_LAST_VISIBLE:
      return name.empty() || IsVisible(name.back());
    default:
      return true;
  }
}

int64_t TextSize(TextEncoding encoding, int64_t size) {
  switch (encoding) {
    case bridge::v1::HEX:
      return 2 * size;
    case bridge::v1::BASE64:
    case bridge::v1::PEM:
      return (size + 2) / 3 * 4;
    default:
      return size;
  }
}

std::string EncodeText(TextEncoding encoding, absl::string_view bytes,
                       absl::string_view pem_label) {
  switch (encoding) {
    case bridge::v1::HEX:
      return absl::BytesToHexString(bytes);
    case bridge::v1::BASE64:
      return absl::Base64Escape(bytes);
    case bridge::v1::PEM:
      return Pem(bytes, pem_label);
    default:
      return std::string(bytes);
  }
}

std::optional<std::string> DecodeText(TextEncoding encoding, absl::string_view field) {
  if (encoding == bridge::v1::BINARY) return std::string(field);
  while (!field.empty() && !IsVisible(field.back())) field.remove_suffix(1);
  if (encoding == bridge::v1::HEX) return HexToBytes(field);
  std::string compact(field);
  compact.erase(
      std::remove_if(compact.begin(), compact.end(), [](char c) { return !IsVisible(c); }),
      compact.end());
  std::string bytes;
  if (!absl::Base64Unescape(compact, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace backup::legacy_client
