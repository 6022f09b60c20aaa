#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"
#include "glog/logging.h"

// Dialects that use what the built-in ones do not.
namespace backup::wire {

// Header in another order with a magic number, hex ids, BASE64 content and keys, a PEM key that is
// the rest of its payload, PKCS#1 v1.5, sizes that count the header, big-endian checksums.
inline constexpr absl::string_view kTextDialect = R"(
name: "text"
request_header { kind: CONSTANT width: 2 value: 0xBACC }
request_header { kind: VERSION width: 1 }
request_header { kind: CODE width: 4 byte_order: BIG }
request_header { kind: CLIENT_ID width: 32 text: HEX }
request_header { kind: FILL width: 3 }
request_header { kind: PAYLOAD_SIZE width: 8 }
answer_header { kind: CODE width: 4 byte_order: BIG }
answer_header { kind: PAYLOAD_SIZE width: 2 }
requests { kind: REGISTER codes: 1 codes: 11 uncounted_bytes: -50 fields { kind: CLIENT_NAME width: 64 fill: 32 name_end: AT_LAST_VISIBLE } }
requests {
  kind: PUBLIC_KEY codes: 2 uncounted_bytes: -50
  fields { kind: CLIENT_NAME width: 64 name_end: AT_LINE_FEED }
  fields { kind: PUBLIC_KEY max_width: 400 text: PEM }
}
requests {
  kind: FILE codes: 3 uncounted_bytes: -50
  fields { kind: FILE_NAME width: 100 }
  fields { kind: ORIGINAL_SIZE width: 8 }
  fields { kind: CONTENT_SIZE width: 8 byte_order: BIG }
  content { length: BY_CONTENT_SIZE content_size_counts: WIRE content_size_excess: 8 text: BASE64 text_line_width: 72 }
}
requests { kind: VALID codes: 4 uncounted_bytes: -50 fields { kind: FILE_NAME width: 100 } }
requests { kind: RETRY codes: 5 uncounted_bytes: -50 fields { kind: FILE_NAME width: 100 } }
answers { kind: REGISTERED code: 101 fields { kind: CLIENT_ID width: 32 text: HEX } }
answers { kind: REGISTRATION_FAILED code: 102 }
answers { kind: KEY_ACCEPTED code: 103 fields { kind: SESSION_KEY width: 180 text: BASE64 fill: 32 } }
answers { kind: FILE_RECEIVED code: 104 fields { kind: CHECKSUM width: 4 byte_order: BIG } fields { kind: FILE_NAME width: 120 fill: 32 } }
answers { kind: ACKNOWLEDGED code: 105 to: RETRY }
answers { kind: ACKNOWLEDGED code: 105 fields { kind: CLIENT_ID width: 32 text: HEX } }
answers { kind: GENERAL_ERROR code: 0xFFFFFFFF uncounted_bytes: -6 }
cryptography { session_key_bits: 256 key_encryption: RSAES_PKCS1_V15 initial_vector: IN_FRONT padding: ZEROS }
conversation { zero_id: BY_NAME retry_answer: NOT_AT_ALL end_after_answer: ENDS }
)";

// No id in the header, plaintext sizes, hex content, everything big-endian.
inline constexpr absl::string_view kBareDialect = R"(
name: "bare"
byte_order: BIG
request_header { kind: CODE width: 1 }
request_header { kind: PAYLOAD_SIZE width: 2 byte_order: LITTLE }
answer_header { kind: PAYLOAD_SIZE width: 2 }
answer_header { kind: CODE width: 1 }
requests { kind: REGISTER codes: 1 fields { kind: CLIENT_NAME max_width: 255 } }
requests { kind: PUBLIC_KEY codes: 2 fields { kind: CLIENT_ID width: 24 text: BASE64 } fields { kind: PUBLIC_KEY width: 324 text: HEX } }
requests { kind: RECONNECT codes: 3 fields { kind: CLIENT_ID width: 24 text: BASE64 } }
requests {
  kind: FILE codes: 4
  fields { kind: CLIENT_ID width: 24 text: BASE64 }
  fields { kind: FILE_NAME width: 32 }
  fields { kind: CONTENT_SIZE width: 4 }
  content { length: BY_CONTENT_SIZE content_size_counts: PLAINTEXT text: HEX }
}
requests { kind: VALID codes: 5 payload_size_lies: true fields { kind: CLIENT_ID width: 24 text: BASE64 } fields { kind: FILE_NAME width: 32 } }
answers { kind: REGISTERED code: 1 fields { kind: CLIENT_ID width: 24 text: BASE64 } }
answers { kind: REGISTRATION_FAILED code: 2 }
answers { kind: KEY_ACCEPTED code: 3 fields { kind: SESSION_KEY width: 256 text: HEX } }
answers { kind: FILE_RECEIVED code: 4 fields { kind: CHECKSUM width: 8 } }
answers { kind: ACKNOWLEDGED code: 5 }
answers { kind: RECONNECTED code: 6 fields { kind: SESSION_KEY width: 256 text: HEX } }
answers { kind: RECONNECT_DENIED code: 7 fields { kind: CLIENT_ID width: 24 text: BASE64 } }
answers { kind: GENERAL_ERROR code: 8 }
cryptography { session_key_bits: 128 }
)";

inline Dialect Parsed(absl::string_view text) {
  absl::StatusOr<Dialect> dialect = ParseDialect(text, "test.textproto");
  CHECK(dialect.ok()) << dialect.status();
  return *std::move(dialect);
}

inline std::vector<Dialect> UnusualDialects() {
  return {Parsed(kTextDialect), Parsed(kBareDialect)};
}

}  // namespace backup::wire
