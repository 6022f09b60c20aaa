#include "bridge/wire/dialects.h"

#include "absl/strings/match.h"
#include "bridge/wire/byte_reader.h"
#include "bridge/wire/family_c.h"

namespace backup::wire {
namespace {

const FamilyC kFamilyC;
// The next family is one more line here.
constexpr const Dialect* kDialects[] = {&kFamilyC};

}  // namespace

std::optional<RequestHeader> DecodeHeader(absl::string_view bytes) {
  if (bytes.size() < kRequestHeaderSize) return std::nullopt;
  ByteReader reader(bytes);
  RequestHeader header;
  header.client_id = *ClientId::FromBytes(reader.Bytes(ClientId::kSize));
  header.version = reader.U8();
  header.code = reader.U16();
  header.payload_size = reader.U32();
  return header;
}

const Dialect* FindDialect(const RequestHeader& header) {
  for (const Dialect* dialect : kDialects) {
    if (dialect->Claims(header)) return dialect;
  }
  return nullptr;
}

const Dialect& DefaultDialect() { return kFamilyC; }

absl::string_view DetectForeignProtocol(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "PRI * HTTP/2")) return "HTTP/2";
  for (const char* method :
       {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PATCH ", "TRACE "}) {
    if (absl::StartsWith(bytes, method)) return "HTTP/1";
  }
  // A TLS record of type handshake, version 3.x, carrying a ClientHello.
  constexpr char kHandshakeRecord[] = "\x16\x03";
  constexpr size_t kHandshakeTypeAt = 5;
  if (absl::StartsWith(bytes, kHandshakeRecord) && bytes.size() > kHandshakeTypeAt &&
      bytes[kHandshakeTypeAt] == 1) {
    return "TLS";
  }
  return "";
}

}  // namespace backup::wire
