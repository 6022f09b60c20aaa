#include "legacy_client/client_style.h"

#include "base/status_macros.h"

namespace backup::legacy_client {
namespace {

// What the server's first try will be, see docs/wire-protocol.md.
ChecksumKind ExpectedChecksum(const ClientStyle& style) {
  if (style.family == Family::kC && style.header_version.value_or(1) == 1) {
    return ChecksumKind::kCrc32OfCiphertext;
  }
  if (style.family == Family::kA && style.content_size == ContentSize::kPlaintext) {
    return ChecksumKind::kCrc32OfPlaintext;
  }
  return ChecksumKind::kCksumOfPlaintext;
}

// Version 1 tells the server that it is the old client, which checks its ciphertext.
uint8_t UsualVersion(const ClientStyle& style) {
  const bool is_old_client =
      style.family == Family::kC && style.checksum_kind == ChecksumKind::kCrc32OfCiphertext;
  return is_old_client ? 1 : 3;
}

ConnectionUse UsualConnectionUse(const ClientStyle& style) {
  const bool is_old_client = style.family == Family::kC && style.header_version == 1;
  return is_old_client || ServerHangsUp(style) ? ConnectionUse::kPerRequest
                                               : ConnectionUse::kSingle;
}

absl::Status CheckFamily(const ClientStyle& style) {
  const bool in_packets = TraitsOf(style.family).sends_packets;
  const bool style_is_of_packets =
      style.file_style == FileStyle::kChunks || style.file_style == FileStyle::kStream;
  if (in_packets && !style_is_of_packets) {
    return absl::InvalidArgumentError("--family=D and E need --file_style=chunks or stream");
  }
  if (!in_packets && style_is_of_packets) {
    return absl::InvalidArgumentError("--file_style=chunks and stream need --family=D or E");
  }
  const bool says_how_packets_are = style.packet_size || style.swap_packet_fields ||
                                    style.extra_packet || style.pad_packets ||
                                    style.original_size == OriginalSize::kPacket;
  if (!in_packets && says_how_packets_are) {
    return absl::InvalidArgumentError(
        "--packet_size, --original_size, --swap_packet_fields, --extra_packet and --pad_packets "
        "need --family=D or E");
  }
  if (style.blocks_1024 && style.family != Family::kA && style.family != Family::kB) {
    return absl::InvalidArgumentError("--blocks_1024 needs --family=A or B");
  }
  if (style.file_style == FileStyle::kBlocks &&
      (style.family != Family::kB || !style.blocks_1024)) {
    return absl::InvalidArgumentError("--file_style=blocks needs --family=B and --blocks_1024");
  }
  if (style.family == Family::kD && style.header_version == 1) {
    return absl::InvalidArgumentError("--header_version=1 with the codes of --family=D is C");
  }
  return absl::OkStatus();
}

// Where no server could tell what the content is.
absl::Status CheckSizes(const ClientStyle& style) {
  const FileStyle file_style = *style.file_style;
  const bool says_plaintext = style.content_size == ContentSize::kPlaintext;
  if (says_plaintext && file_style != FileStyle::kCounted && file_style != FileStyle::kChunks &&
      file_style != FileStyle::kBlocks) {
    return absl::InvalidArgumentError(
        "--content_size=plaintext needs --file_style=counted, chunks or blocks: else only the "
        "content size tells how long the ciphertext is");
  }
  if (says_plaintext && style.pad_packets) {
    return absl::InvalidArgumentError(
        "--pad_packets needs --content_size=ciphertext: else nothing tells how long it is");
  }
  if (style.original_size == OriginalSize::kPacket && file_style != FileStyle::kChunks) {
    return absl::InvalidArgumentError("--original_size=packet needs --file_style=chunks");
  }
  return absl::OkStatus();
}

absl::Status CheckConnection(const ClientStyle& style) {
  if (style.connection_use == ConnectionUse::kSingle && ServerHangsUp(style)) {
    return absl::InvalidArgumentError(
        "--blocks_1024 with header version 3 needs --connection=per-request: the server hangs up");
  }
  if (style.connection_use == ConnectionUse::kPerRequest &&
      style.retry_notice == RetryNotice::kAtOnce) {
    return absl::InvalidArgumentError(
        "--retry_notice=at-once needs --connection=single: the file could overtake the notice");
  }
  return absl::OkStatus();
}

}  // namespace

bool ServerHangsUp(const ClientStyle& style) {
  return style.blocks_1024 && style.header_version == 3;
}

absl::StatusOr<ClientStyle> Complete(ClientStyle style) {
  if (!style.checksum_kind) style.checksum_kind = ExpectedChecksum(style);
  if (!style.header_version) style.header_version = UsualVersion(style);
  const bool in_packets = TraitsOf(style.family).sends_packets;
  if (!style.file_style) style.file_style = in_packets ? FileStyle::kChunks : FileStyle::kCounted;
  RETURN_IF_ERROR(CheckFamily(style));
  RETURN_IF_ERROR(CheckSizes(style));
  if (in_packets && !style.packet_size) style.packet_size = kDefaultPacketSize;
  if (!style.connection_use) style.connection_use = UsualConnectionUse(style);
  if (!style.retry_notice) {
    style.retry_notice =
        style.connection_use == ConnectionUse::kSingle ? RetryNotice::kAtOnce : RetryNotice::kWait;
  }
  RETURN_IF_ERROR(CheckConnection(style));
  return style;
}

}  // namespace backup::legacy_client
