#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "legacy_client/channel.h"
#include "legacy_client/dialect_file.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"

namespace backup::legacy_client {

// How a file becomes requests.
enum class FileStyle {
  kCounted,    // One request whose payload size counts the content.
  kUncounted,  // One request whose payload size does not.
  kTruncated,  // As counted, but the payload size is cut at its first zero byte.
  kChunks,     // Packets, each encrypted on its own.
  kStream,     // Packets that are slices of one ciphertext.
  kBlocks,     // One request and then bare blocks, each encrypted on its own.
};

// What the content size field says, where the dialect leaves it open.
enum class ContentSize { kCiphertext, kPlaintext };

// What the original size field of a packet says.
enum class OriginalSize { kFile, kPacket };

// A packet's content: plaintext with kChunks, what is on the wire with kStream.
inline constexpr int64_t kDefaultPacketSize = 65536;

// A client: a dialect, and what this client does where its dialect leaves a choice. What is not set
// follows from the rest: Complete().
struct ClientStyle {
  Dialect dialect = FamilyDialect("C").value();
  std::optional<uint32_t> header_version = std::nullopt;
  std::optional<ChecksumKind> checksum_kind = std::nullopt;
  std::optional<FileStyle> file_style = std::nullopt;
  std::optional<ContentSize> content_size = std::nullopt;
  std::optional<ConnectionUse> connection_use = std::nullopt;
  std::optional<RetryNotice> retry_notice = std::nullopt;
  std::optional<PublicKeyForm> public_key_form = std::nullopt;
  bool id_in_payload = false;  // Ids that may be missing are there.
  bool short_fields = false;   // Fields that may be shorter are as short as they can be.
  bool blocks_1024 = false;    // Messages that only some clients of the dialect pad are padded.

  // Of packets only.
  std::optional<int64_t> packet_size = std::nullopt;
  OriginalSize original_size = OriginalSize::kFile;
  bool swap_packet_fields = false;  // The total before the number.
  bool extra_packet = false;        // One more, with a number above the total.
  bool pad_packets = false;         // With zero bytes to the size of a full one.
};

// `style` with everything set, and a dialect that leaves nothing open. InvalidArgument if no client
// could be all of this, or no server could read it: one line that names the flags of legacy-client.
// A complete style stays as it is.
absl::StatusOr<ClientStyle> Complete(ClientStyle style);

// Of a complete style, here and below.

// Whether the server closes the connection after each answer.
bool ServerHangsUp(const ClientStyle& style);
// The id that goes into a request: that of the client, or zeros where the dialect has clients be
// known by their name, or by a connection on which they have said it (`is_known_there`).
ClientId IdIn(RequestKind kind, const ClientId& id, const ClientStyle& style, bool is_known_there);
FrameStyle FrameStyleOf(const ClientStyle& style);
EncryptionOptions EncryptionOf(const ClientStyle& style);

}  // namespace backup::legacy_client
