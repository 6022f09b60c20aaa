#include "bridge/net/proxy_header.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace backup::bridge {
namespace {

using Decoded = absl::StatusOr<std::optional<ProxyHeader>>;

constexpr absl::string_view kLineBegin = "PROXY ";
constexpr absl::string_view kLineEnd = "\r\n";
constexpr absl::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kFixedSize = 16;  // Signature, version and command, family, size of the body.
constexpr uint8_t kLocal = 0x20;
constexpr uint8_t kProxied = 0x21;
constexpr uint8_t kUnspecified = 0x00;
constexpr uint8_t kTcp4 = 0x11;
constexpr uint8_t kTcp6 = 0x21;
constexpr size_t kIpv4Size = 4;
constexpr size_t kIpv6Size = 16;
constexpr size_t kPortSize = 2;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("no PROXY header: ", what));
}

uint8_t ByteAt(absl::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }
size_t U16At(absl::string_view bytes, size_t at) {
  return size_t{ByteAt(bytes, at)} << 8 | ByteAt(bytes, at + 1);
}

// Whether the first bytes are those of `begin`, as far as they have come.
bool MayBegin(absl::string_view bytes, absl::string_view begin) {
  const size_t size = std::min(bytes.size(), begin.size());
  return bytes.substr(0, size) == begin.substr(0, size);
}

std::optional<int> ParsePort(absl::string_view text) {
  constexpr uint32_t kMaxPort = 65535;
  uint32_t port = 0;
  const bool has_digits_only =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!has_digits_only || !absl::SimpleAtoi(text, &port) || port > kMaxPort) return std::nullopt;
  return static_cast<int>(port);
}

// An address as the line says it is written: with colons or without.
std::optional<IpAddress> ParseAddress(absl::string_view text, bool has_colons) {
  if (absl::StrContains(text, ':') != has_colons) return std::nullopt;
  return IpAddress::Parse(text);
}

// `line` is without its end.
absl::StatusOr<std::optional<ProxyHeader::Client>> ClientOfLine(absl::string_view line) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  if (words[1] == "UNKNOWN") return std::nullopt;
  const bool is_ipv6 = words[1] == "TCP6";
  if (!is_ipv6 && words[1] != "TCP4") return Malformed("it is not about TCP4, TCP6 or UNKNOWN");
  if (words.size() != 6) return Malformed("it has not two addresses and two ports");
  const std::optional<IpAddress> from = ParseAddress(words[2], is_ipv6);
  const std::optional<IpAddress> to = ParseAddress(words[3], is_ipv6);
  const std::optional<int> port = ParsePort(words[4]);
  if (!from || !to || !port || !ParsePort(words[5]))
    return Malformed("an address or a port is none");
  return ProxyHeader::Client{*from, *port};
}

Decoded DecodeLine(absl::string_view bytes) {
  const absl::string_view most = bytes.substr(0, kMaxProxyLineSize);
  const size_t end = most.find(kLineEnd);
  if (end == absl::string_view::npos) {
    if (most.size() == kMaxProxyLineSize) return Malformed("its line is too long");
    return std::nullopt;
  }
  const auto client = ClientOfLine(most.substr(0, end));
  if (!client.ok()) return client.status();
  return ProxyHeader{end + kLineEnd.size(), *client};
}

// Of version 2, `body` being all that follows the fixed part.
std::optional<ProxyHeader::Client> ClientOfBody(uint8_t family, absl::string_view body) {
  if (family == kUnspecified) return std::nullopt;
  const size_t size = family == kTcp6 ? kIpv6Size : kIpv4Size;
  return ProxyHeader::Client{*IpAddress::FromBytes(body.substr(0, size)),
                             static_cast<int>(U16At(body, 2 * size))};
}

// Whether a body of that family has room for its addresses and ports.
absl::Status CheckFamily(uint8_t family, size_t body_size) {
  if (family == kUnspecified) return absl::OkStatus();
  if (family != kTcp4 && family != kTcp6) return Malformed("it is not about TCP");
  const size_t addresses = 2 * ((family == kTcp6 ? kIpv6Size : kIpv4Size) + kPortSize);
  return body_size >= addresses ? absl::OkStatus() : Malformed("it ends in its addresses");
}

Decoded DecodeBinary(absl::string_view bytes) {
  // Each as soon as it has come.
  if (bytes.size() <= kSignature.size()) return std::nullopt;
  const uint8_t command = ByteAt(bytes, kSignature.size());
  if (command != kLocal && command != kProxied)
    return Malformed("it is of another version, or neither LOCAL nor PROXY");
  if (bytes.size() < kFixedSize) return std::nullopt;
  const uint8_t family = ByteAt(bytes, kSignature.size() + 1);
  const size_t body_size = U16At(bytes, kSignature.size() + 2);
  if (body_size > kMaxProxyBodySize) return Malformed("it is too long");
  if (command == kProxied) {
    if (const absl::Status fits = CheckFamily(family, body_size); !fits.ok()) return fits;
  }
  if (bytes.size() < kFixedSize + body_size) return std::nullopt;
  ProxyHeader header{kFixedSize + body_size, std::nullopt};
  // What the body of LOCAL says does not matter.
  if (command == kProxied)
    header.client = ClientOfBody(family, bytes.substr(kFixedSize, body_size));
  return header;
}

}  // namespace

absl::StatusOr<std::optional<ProxyHeader>> DecodeProxyHeader(absl::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  if (MayBegin(bytes, kSignature)) return DecodeBinary(bytes);
  if (!MayBegin(bytes, kLineBegin)) return Malformed("it begins with other bytes");
  return bytes.size() < kLineBegin.size() ? Decoded(std::nullopt) : DecodeLine(bytes);
}

}  // namespace backup::bridge
