#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "legacy_client/dialect_file.h"

// The messages of a dialect as its clients write and read them. Kept apart from the bridge's codec
// on purpose: two readings of one description keep each other honest.
namespace backup::legacy_client {

inline constexpr size_t kPublicKeySize = 160;
inline constexpr size_t kEncryptedKeySize = 128;

// What the fields of a request say; a dialect uses those that its request has.
struct RequestValues {
  ClientId id = ClientId();  // All zero before the registration.
  absl::string_view client_name = "";
  absl::string_view file_name = "";
  absl::string_view public_key = "";  // DER.
  int64_t content_size = 0;
  int64_t original_size = 0;
  int64_t packet_number = 0;  // From 1.
  int64_t packet_total = 0;
};

struct AnswerHeader {
  AnswerKind kind = AnswerKind::GENERAL_ERROR;
  const bridge::v1::Answer* layout = nullptr;  // Of the payload.
  int64_t payload_size = 0;                    // As it is, whatever the header counts.
};

struct Answer {
  AnswerHeader header;
  std::string header_bytes;
  std::string payload;
};

// What the fields of an answer say, as far as it has them.
struct AnswerValues {
  std::optional<ClientId> id;
  std::optional<std::string> encrypted_key;
  std::optional<int64_t> content_size;
  std::optional<std::string> file_name_field;
  std::optional<uint64_t> checksum;
};

// How a client writes what its dialect leaves open.
struct FrameStyle {
  uint32_t version = 3;       // In every header.
  bool short_fields = false;  // Fields that may be shorter have what they hold, and no more.
};

// Immutable; thread-safe.
class Frames {
 public:
  // No CLIENT_ID of `dialect` may still be one that may be missing.
  Frames(Dialect dialect, FrameStyle style);

  const Dialect& dialect() const { return dialect_; }
  bool Has(RequestKind kind) const { return FindRequest(dialect_, kind) != nullptr; }

  // InvalidArgument if a field of the request has no room for one of the values; of a FILE the
  // payload size is for the caller to check.
  absl::Status Check(RequestKind kind, const RequestValues& values) const;
  // The header of a request whose payload has `payload_size` bytes, as this client counts them:
  // before Request.uncounted_bytes. The dialect must have the request, here and below, and
  // Check() must be OK.
  std::string Header(RequestKind kind, const RequestValues& values, int64_t payload_size) const;
  // The payload, of a FILE what is before the content.
  std::string Fields(RequestKind kind, const RequestValues& values) const;
  // Header and payload: a whole request, but of a FILE.
  std::string Request(RequestKind kind, const RequestValues& values) const;
  // How many bytes pad a request of `size` bytes.
  int64_t RequestPadding(int64_t size) const;
  // The largest value of a field of the header or of the payload; that of int64_t if there is none.
  int64_t LargestValue(RequestKind kind, bridge::v1::Field::Kind field) const;

  size_t request_header_size() const { return request_header_size_; }
  size_t answer_header_size() const { return answer_header_size_; }
  int64_t AnswerPadding(int64_t size) const;
  // `header` must have answer_header_size() bytes; `asked` is the request that it answers. DataLoss
  // if it is no header of this dialect.
  absl::StatusOr<AnswerHeader> DecodeAnswerHeader(absl::string_view header,
                                                  RequestKind asked) const;
  // DataLoss if the answer is not laid out as the dialect prescribes.
  absl::StatusOr<AnswerValues> Decode(const Answer& answer) const;
  // Whether an answer's field of a file's name repeats that of a request for `name`.
  bool IsEcho(absl::string_view field, absl::string_view name) const;

 private:
  const bridge::v1::Request& Get(RequestKind kind) const;
  void Append(const bridge::v1::Field& field, const bridge::v1::Request& request,
              const RequestValues& values, int64_t payload_size, std::string& out) const;
  void AppendBytes(const bridge::v1::Field& field, absl::string_view bytes, std::string& out) const;
  std::string PublicKeyText(const bridge::v1::Field& field, absl::string_view der) const;
  const bridge::v1::Answer* FindAnswer(uint64_t code, RequestKind asked) const;
  absl::Status Decode(const google::protobuf::RepeatedPtrField<bridge::v1::Field>& fields,
                      absl::string_view bytes, AnswerValues& values) const;
  absl::Status DecodeField(const bridge::v1::Field& field, absl::string_view bytes,
                           AnswerValues& values) const;

  const Dialect dialect_;
  const FrameStyle style_;
  const size_t request_header_size_;
  const size_t answer_header_size_;
};

// An answer's kind for people: "reconnect denied".
std::string ToText(AnswerKind kind);

}  // namespace backup::legacy_client
