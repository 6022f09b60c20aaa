#include "bridge/wire/dialects.h"

#include "absl/strings/match.h"
#include "bridge/wire/byte_reader.h"
#include "bridge/wire/family.h"

namespace backup::wire {
namespace {

// docs/wire-protocol.md, "Families".
constinit const Family kFamiliesAB({.name = "A/B",
                                    .register_code = 1100,
                                    .public_key_code = 1101,
                                    .reconnect_code = 1102,
                                    .file_code = 1103,
                                    .valid_code = 1104,
                                    .retry_code = 1105,
                                    .abort_code = 1106,
                                    .first_answer_code = 2100,
                                    .session_key_bits = 128,
                                    .file_layout = FileLayout::kWhole,
                                    .claims_version_1 = true,
                                    .version_1_compares_crc32 = false,
                                    .is_a_and_b = true,
                                    .may_send_blocks = true});
constinit const Family kFamilyC({.name = "C",
                                 .register_code = 1025,
                                 .public_key_code = 1026,
                                 .reconnect_code = 1027,
                                 .file_code = 1028,
                                 .valid_code = 1029,
                                 .retry_code = 1030,
                                 .abort_code = 1031,
                                 .first_answer_code = 2100,
                                 .session_key_bits = 128,
                                 .file_layout = FileLayout::kWhole,
                                 .claims_version_1 = true,
                                 .version_1_compares_crc32 = true,
                                 .is_a_and_b = false,
                                 .may_send_blocks = false});
constinit const Family kFamilyD({.name = "D",
                                 .register_code = 1025,
                                 .public_key_code = 1026,
                                 .reconnect_code = 1027,
                                 .file_code = 1028,
                                 .valid_code = 1029,
                                 .retry_code = 1030,
                                 .abort_code = 1031,
                                 .first_answer_code = 1600,
                                 .session_key_bits = 256,
                                 .file_layout = FileLayout::kPackets,
                                 .claims_version_1 = false,
                                 .version_1_compares_crc32 = false,
                                 .is_a_and_b = false,
                                 .may_send_blocks = false});
constinit const Family kFamilyE({.name = "E",
                                 .register_code = 825,
                                 .public_key_code = 826,
                                 .reconnect_code = 827,
                                 .file_code = 828,
                                 .valid_code = 900,
                                 .retry_code = 901,
                                 .abort_code = 902,
                                 .first_answer_code = 1600,
                                 .session_key_bits = 256,
                                 .file_layout = FileLayout::kPackets,
                                 .claims_version_1 = true,
                                 .version_1_compares_crc32 = false,
                                 .is_a_and_b = false,
                                 .may_send_blocks = false});
// The next family is one more line here.
constexpr const Dialect* kDialects[] = {&kFamiliesAB, &kFamilyC, &kFamilyD, &kFamilyE};

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

std::vector<const Dialect*> FindDialects(const RequestHeader& header) {
  std::vector<const Dialect*> found;
  for (const Dialect* dialect : kDialects) {
    if (dialect->Claims(header)) found.push_back(dialect);
  }
  return found;
}

const Dialect* FindDialectByName(absl::string_view name) {
  for (const Dialect* dialect : kDialects) {
    if (dialect->name() == name) return dialect;
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
