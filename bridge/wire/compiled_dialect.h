#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

// A dialect as the decoder and the encoder read it: checked, every field at its place. Made by
// dialect_compiler.cc, and internal to this folder.
namespace backup::wire {

// As in dialect.proto.
enum class FieldKind {
  kClientId,
  kVersion,
  kCode,
  kPayloadSize,
  kClientName,
  kFileName,
  kPublicKey,
  kContentSize,
  kOriginalSize,
  kPacketNumber,
  kPacketTotal,
  kSessionKey,
  kChecksum,
  kFill,
  kConstant,
};
enum class NameEnd { kAtNul, kAtLastVisible, kAtLineFeed };
enum class RequestKind { kRegister, kPublicKey, kReconnect, kFile, kValid, kRetry, kAbort };
// In the order of the alternatives of Reply.
enum class AnswerKind {
  kRegistered,
  kRegistrationFailed,
  kKeyAccepted,
  kFileReceived,
  kAcknowledged,
  kReconnected,
  kReconnectDenied,
  kGeneralError,
};
enum class LengthBy { kPayloadSize, kContentSize, kEither };

struct Field {
  FieldKind kind = FieldKind::kFill;
  size_t offset = 0;  // From the front of its header or payload, if all before it have their width.
  size_t width = 0;   // 0: the rest of the payload.
  size_t max_width = 0;  // Of the rest.
  bool big_endian = false;
  TextEncoding text = TextEncoding::kBinary;
  uint64_t value = 0;
  char fill = 0;
  bool may_be_missing = false;
  bool may_be_shorter = false;
  NameEnd name_end = NameEnd::kAtNul;
};

// The fields of a header, a payload or an answer.
struct Layout {
  std::vector<Field> fields;
  size_t size = 0;  // Of all that have a width.

  const Field* Find(FieldKind kind) const {
    for (const Field& field : fields) {
      if (field.kind == kind) return &field;
    }
    return nullptr;
  }
};

struct CompiledRequest {
  RequestKind kind = RequestKind::kRegister;
  Layout payload;
  int64_t uncounted_bytes = 0;
  bool payload_size_lies = false;
};

struct CompiledAnswer {
  AnswerKind kind = AnswerKind::kGeneralError;
  uint32_t code = 0;
  Layout payload;
  int64_t uncounted_bytes = 0;
  std::optional<RequestKind> to;
  bool to_id_in_payload = false;
};

struct CompiledChecksumRule {
  std::vector<uint32_t> versions;
  bool id_in_payload = false;
  bool content_size_of_plaintext = false;
  Checksum checksum = Checksum::kCksumOfPlaintext;
};

struct CompiledLabel {
  std::string name;
  std::vector<RequestKind> requests;
  bool id_in_payload = false;
};

class CompiledDialect {
 public:
  std::string name;
  std::string source;
  std::string where;               // Of what it is recognized by: "FILE:LINE".
  std::vector<uint32_t> versions;  // None: any.
  std::vector<uint32_t> not_versions;
  std::vector<std::string> same_requests_as;
  std::vector<int> ports;

  Layout request_header;
  Layout answer_header;
  std::vector<CompiledRequest> requests;
  struct Code {
    uint32_t code = 0;
    size_t request = 0;  // Its index.
  };
  std::vector<Code> codes;
  std::vector<CompiledAnswer> answers;

  PaddingTraits padding;
  ContentTraits content;
  LengthBy content_length = LengthBy::kEither;
  SessionKeyForm session_key;
  std::vector<CompiledChecksumRule> checksums;
  RetryAnswer retry_answer = RetryAnswer::kIfWaitedFor;
  bool ends_connection = false;
  bool ends_only_if_padded = false;
  std::vector<uint32_t> end_versions;  // None: any.
  bool looks_up_zero_ids = false;
  std::vector<CompiledLabel> labels;

  bool SaysSameAs(absl::string_view other) const {
    for (const std::string& one : same_requests_as) {
      if (one == other) return true;
    }
    return false;
  }
  // Whether it is at home on that port.
  bool Names(int port) const {
    for (const int one : ports) {
      if (one == port) return true;
    }
    return false;
  }
  // Whether its files say how large their plaintext is.
  bool HasOriginalSize() const {
    for (const CompiledRequest& request : requests) {
      if (request.payload.Find(FieldKind::kOriginalSize) != nullptr) return true;
    }
    return false;
  }
  // Null if no request has this code.
  const CompiledRequest* FindRequest(uint32_t code) const {
    for (const Code& entry : codes) {
      if (entry.code == code) return &requests[entry.request];
    }
    return nullptr;
  }
};

// Whether `versions`, or if there are none everybody, has it.
inline bool HasOrIsEmpty(const std::vector<uint32_t>& versions, uint32_t version) {
  if (versions.empty()) return true;
  for (const uint32_t one : versions) {
    if (one == version) return true;
  }
  return false;
}

// Requests as text: "REGISTER".
absl::string_view NameOf(RequestKind kind);
absl::string_view NameOf(AnswerKind kind);
absl::string_view NameOf(FieldKind kind);

}  // namespace backup::wire
