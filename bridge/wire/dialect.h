#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/message.h"

namespace backup::wire {

// No head of any dialect is larger; a public key with padding is the largest. Whoever reads heads
// needs no more room.
inline constexpr size_t kMaxHeadSize = 4096;

// The fixed bytes before every payload, as a dialect reads them.
struct RequestHeader {
  ClientId client_id;  // Zeros if the header has none.
  uint32_t version = 0;
  uint32_t code = 0;
  uint64_t payload_size = 0;  // As the client said it.
  bool is_genuine = true;     // Whether its constants are right.
};

// What fills messages up, and with which clients.
enum class PaddingUse { kNever, kAlways, kByClient };
struct PaddingTraits {
  size_t multiple_of = 1;
  PaddingUse requests = PaddingUse::kNever;
  PaddingUse answers = PaddingUse::kNever;
};

// How bytes are written as text.
enum class TextEncoding { kBinary, kHex, kBase64, kPem };

// How a file comes in packets: dialect.proto, Packets.
struct PacketTraits {
  enum class Encryption { kBySize, kEachPacket, kOneStream };
  Encryption encryption = Encryption::kBySize;
  bool numbers_may_be_swapped = false;
  bool surplus_is_ignored = false;
  bool header_on_first_only = false;
  bool last_is_filled = true;  // Of packets without headers: it is as large as the first.
  bool counted_from_zero = false;
};

// How a file comes in blocks: dialect.proto, Blocks.
struct BlockTraits {
  uint64_t size = 0;
  bool last_is_filled = false;
};

// What a content size counts.
enum class SizeOf { kCiphertext, kPlaintext, kEither, kWire, kNothing };

// How the content of a file is laid out and encrypted.
struct ContentTraits {
  TextEncoding text = TextEncoding::kBinary;
  uint64_t text_line_width = 0;  // 0: no line breaks.
  uint64_t text_line_break_size = 1;
  bool text_ends_with_line_break = true;
  SizeOf content_size_of = SizeOf::kEither;
  int64_t content_size_excess = 0;   // What SendFile::content_size counts besides.
  uint32_t content_size_factor = 1;  // It says so many times what it counts.
  bool initial_vector_in_front = false;
  bool has_surplus = false;           // Up to 15 bytes of plaintext are no part of the file.
  bool padded_with_zeros = false;     // Not with PKCS#7.
  uint32_t encrypted_piece_size = 0;  // 0: it is encrypted as a whole, or by packets or blocks.
  std::optional<PacketTraits> packets = std::nullopt;
  std::optional<BlockTraits> blocks = std::nullopt;
};

enum class RetryAnswer { kIfWaitedFor, kAtOnce, kNever };

class CompiledDialect;

// One kind of clients: a codec of bytes and values that knows no sockets and no policy, made of a
// description (proto/backup/bridge/v1/dialect.proto). Immutable; cheap to copy.
class Dialect {
 public:
  // For logs and metrics, for example "C".
  absl::string_view name() const;
  // Its text, as it was read.
  absl::string_view source() const;

  // Of its requests' headers.
  size_t header_size() const;

  // The header at the front of `bytes`, read as one of this dialect; nothing until it is whole.
  std::optional<RequestHeader> DecodeHeader(absl::string_view bytes) const;

  // Whether a request with this header is, or can be, of this dialect: by its code, its version and
  // its constants.
  bool Claims(const RequestHeader& header) const;

  // Whether it can come to that of a header of which only `bytes` are there.
  bool MayClaim(absl::string_view bytes) const;

  // Whether a request with this header is a registration, so that its client id means nothing.
  bool IsRegistration(const RequestHeader& header) const;

  // Decodes the head of the request at the front of `bytes`, whose header it claims: a head;
  // nothing, if more bytes are needed; or InvalidArgument, naming the rule that was broken, if no
  // more bytes can make it right. Never asks for more than kMaxHeadSize bytes. The same bytes
  // always give the same answer, however they arrived.
  absl::StatusOr<std::optional<DecodedHead>> DecodeHead(absl::string_view bytes) const;

  // Decodes the fields of a packet that has no header (PacketTraits::header_on_first_only); as
  // DecodeHead(). The client id, version and code are those of `first`; the body is as large as the
  // first packet's.
  absl::StatusOr<std::optional<DecodedHead>> DecodeBarePacket(absl::string_view bytes,
                                                              const DecodedHead& first) const;

  // The whole answer, header and payload but without padding, to be written at once. `request` is
  // what it answers; null for a general error to what is no request.
  std::string EncodeReply(const Reply& reply, const Request* request) const;

  const PaddingTraits& padding() const;
  const ContentTraits& content() const;
  RetryAnswer retry_answer() const;
  // Whether the connection is to be ended after the answer to a request of this version; `padded`:
  // whether the client pads its messages.
  bool EndsConnection(uint32_t version, bool padded) const;
  // Whether an id of zeros means the client of that name, or of the connection.
  bool LooksUpZeroIds() const;

  // Whether this is its name or a label of some of its clients.
  bool IsCalled(absl::string_view name) const;
  // Whether clients without a record that may speak either are taken for this one on that port.
  bool IsPreferredOn(int port, const Dialect& other) const;

  // Whether that is one of its ports.
  bool IsAtHomeOn(int port) const;

  // For this folder.
  const CompiledDialect& compiled() const { return *compiled_; }

 private:
  friend absl::StatusOr<Dialect> ParseDialect(absl::string_view text, absl::string_view file_name);
  explicit Dialect(std::shared_ptr<const CompiledDialect> compiled)
      : compiled_(std::move(compiled)) {}

  std::shared_ptr<const CompiledDialect> compiled_;
};

// The dialect that `text` describes, in protobuf's text format. InvalidArgument with one line for
// each contradiction, "FILE:LINE: what is wrong".
absl::StatusOr<Dialect> ParseDialect(absl::string_view text, absl::string_view file_name);

}  // namespace backup::wire
