#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "legacy_client/channel.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/families.h"
#include "legacy_client/key_pair.h"

namespace backup::legacy_client {

// How a file becomes requests.
enum class FileStyle {
  kCounted,    // One request whose payload size counts the content.
  kUncounted,  // One request whose payload size does not.
  kTruncated,  // As counted, but the payload size is cut at its first zero byte.
  kChunks,     // Packets, each encrypted on its own.
  kStream,     // Packets that are slices of one ciphertext.
  kBlocks,     // Requests of 1024 bytes, their contents encrypted each on its own.
};

// What the content size field says.
enum class ContentSize { kCiphertext, kPlaintext };

// What the original size field of a packet says.
enum class OriginalSize { kFile, kPacket };

// A packet's content: plaintext with kChunks, ciphertext with kStream.
inline constexpr int64_t kDefaultPacketSize = 65536;

// Everything in which real clients differ. What is not set follows from the rest: Complete().
struct ClientStyle {
  Family family = Family::kC;
  std::optional<uint8_t> header_version = std::nullopt;
  std::optional<ChecksumKind> checksum_kind = std::nullopt;
  std::optional<FileStyle> file_style = std::nullopt;
  ContentSize content_size = ContentSize::kCiphertext;
  std::optional<ConnectionUse> connection_use = std::nullopt;
  std::optional<RetryNotice> retry_notice = std::nullopt;
  PublicKeyForm public_key_form = PublicKeyForm::kSpki;
  bool blocks_1024 = false;  // Every message is padded to a multiple of 1024 bytes.

  // Of packets only.
  std::optional<int64_t> packet_size = std::nullopt;
  OriginalSize original_size = OriginalSize::kFile;
  bool swap_packet_fields = false;  // The total before the number.
  bool extra_packet = false;        // One more, with a number above the total.
  bool pad_packets = false;         // With zero bytes to the size of a full one.
};

// Whether the server closes the connection after each answer because of this style.
bool ServerHangsUp(const ClientStyle& style);

// `style` with everything set. InvalidArgument if no client could be all of this, or no server
// could read it: one line that names the flags of legacy-client.
absl::StatusOr<ClientStyle> Complete(ClientStyle style);

}  // namespace backup::legacy_client
