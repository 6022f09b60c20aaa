#include "bridge/wire/sample_requests.h"

#include <algorithm>

#include "bridge/wire/content_size.h"
#include "bridge/wire/integers.h"
#include "bridge/wire/text_encoding.h"

namespace backup::wire {
namespace {

constexpr absl::string_view kId = "0123456789abcdef";
constexpr absl::string_view kName = "sample";
constexpr uint64_t kPlaintextSize = 300;

struct Sample {
  const CompiledDialect& dialect;
  uint32_t code;
  uint32_t version;
  bool first_is_missing;
  uint64_t payload_size = 0;
  uint64_t content_size = 0;

  uint64_t IntegerOf(const Field& field) const {
    switch (field.kind) {
      case FieldKind::kVersion:
        return version;
      case FieldKind::kCode:
        return code;
      case FieldKind::kPayloadSize:
        return payload_size;
      case FieldKind::kContentSize:
        return content_size;
      case FieldKind::kOriginalSize:
        return kPlaintextSize;
      case FieldKind::kPacketNumber:
      case FieldKind::kPacketTotal:
        return 1;
      default:
        return field.value;
    }
  }

  void Append(const Field& field, std::string& out) const {
    absl::string_view bytes;
    std::string text;
    switch (field.kind) {
      case FieldKind::kClientId:
        text = EncodeText(field.text, kId);
        bytes = text;
        break;
      case FieldKind::kClientName:
      case FieldKind::kFileName:
        bytes = kName;
        break;
      case FieldKind::kPublicKey:
      case FieldKind::kFill:
        break;
      default:
        return AppendInteger(IntegerOf(field), field.width, field.big_endian, out);
    }
    const size_t width = std::max(field.width, field.width == 0 ? bytes.size() : 0);
    bytes = bytes.substr(0, width);
    out.append(bytes.data(), bytes.size());
    out.append(width - bytes.size(), field.fill);
  }
};

// What the content size of a sample says, and how large its body is.
uint64_t SaidSize(const CompiledDialect& dialect, uint64_t ciphertext_size) {
  switch (dialect.content.content_size_of) {
    case SizeOf::kPlaintext:
      return kPlaintextSize * dialect.content.content_size_factor +
             dialect.content.content_size_excess;
    case SizeOf::kWire:
      return BodySizeOfCiphertext(dialect.content, ciphertext_size) *
                 dialect.content.content_size_factor +
             dialect.content.content_size_excess;
    default:
      return ciphertext_size * dialect.content.content_size_factor +
             dialect.content.content_size_excess;
  }
}

SampleRequest Make(const CompiledDialect& dialect, const CompiledRequest& request, Sample sample) {
  std::string payload;
  const uint64_t ciphertext_size = CiphertextSize(dialect.content, kPlaintextSize);
  if (request.kind == RequestKind::kFile) sample.content_size = SaidSize(dialect, ciphertext_size);
  for (const Field& field : request.payload.fields) {
    const bool is_first = &field == &request.payload.fields.front();
    if (!is_first || !sample.first_is_missing) sample.Append(field, payload);
  }
  uint64_t size = payload.size();
  if (request.kind == RequestKind::kFile)
    size += BodySizeOfCiphertext(dialect.content, ciphertext_size);
  sample.payload_size = static_cast<uint64_t>(static_cast<int64_t>(size) - request.uncounted_bytes);
  std::string head;
  for (const Field& field : dialect.request_header.fields) sample.Append(field, head);
  return {request.kind, sample.code, sample.version, head + payload};
}

}  // namespace

std::vector<SampleRequest> SampleRequestsOf(const Dialect& described,
                                            const std::vector<uint32_t>& versions) {
  const CompiledDialect& dialect = described.compiled();
  std::vector<SampleRequest> samples;
  for (const uint32_t version : versions) {
    const bool is_other = std::find(dialect.not_versions.begin(), dialect.not_versions.end(),
                                    version) != dialect.not_versions.end();
    if (is_other || !HasOrIsEmpty(dialect.versions, version)) continue;
    for (const CompiledDialect::Code& code : dialect.codes) {
      const CompiledRequest& request = dialect.requests[code.request];
      const bool may_vary =
          !request.payload.fields.empty() && (request.payload.fields.front().may_be_missing ||
                                              request.payload.fields.front().may_be_shorter);
      samples.push_back(Make(dialect, request, {dialect, code.code, version, false}));
      if (may_vary) samples.push_back(Make(dialect, request, {dialect, code.code, version, true}));
    }
  }
  return samples;
}

}  // namespace backup::wire
