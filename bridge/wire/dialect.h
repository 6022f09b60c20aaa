#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/message.h"

namespace backup::wire {

// Sizes that all dialects share.
inline constexpr size_t kRequestHeaderSize = 23;
inline constexpr size_t kReplyHeaderSize = 7;
inline constexpr size_t kNameFieldSize = 255;
inline constexpr size_t kEncryptedKeySize = 128;
// No head of any dialect is larger; a public key with padding is the largest. Whoever reads heads
// needs no more room.
inline constexpr size_t kMaxHeadSize = 4096;
// What some clients pad every message to a multiple of.
inline constexpr size_t kBlockSize = 1024;
// The version byte of every answer: some clients insist on it.
inline constexpr uint8_t kReplyVersion = 3;

// The 23 bytes before every payload.
struct RequestHeader {
  ClientId client_id;
  uint8_t version = 0;
  uint16_t code = 0;
  uint32_t payload_size = 0;
};

// Nothing until there are kRequestHeaderSize bytes.
std::optional<RequestHeader> DecodeHeader(absl::string_view bytes);

// One generation of clients: a codec of bytes and values that knows no sockets and no policy.
// Stateless.
class Dialect {
 public:
  virtual ~Dialect() = default;

  // For logs and metrics, for example "C".
  virtual absl::string_view name() const = 0;

  // Whether a request with this header is, or can be, of this dialect.
  virtual bool Claims(const RequestHeader& header) const = 0;

  // Whether a request with this header is a registration, so that its client id means nothing.
  virtual bool IsRegistration(const RequestHeader& header) const = 0;

  // Whether some clients of this dialect send every message in blocks of kBlockSize bytes, the last
  // one padded, and want answers like that.
  virtual bool MaySendBlocks() const = 0;

  // Decodes the head of the request at the front of `bytes`, whose header it claims: a head;
  // nothing, if more bytes are needed; or InvalidArgument, naming the rule that was broken, if no
  // more bytes can make it right. Never asks for more than kMaxHeadSize bytes. The same bytes
  // always give the same answer, however they arrived.
  virtual absl::StatusOr<std::optional<DecodedHead>> DecodeHead(absl::string_view bytes) const = 0;

  // The whole answer, header and payload, to be written at once.
  virtual std::string EncodeReply(const Reply& reply) const = 0;
};

}  // namespace backup::wire
