// Answers by a dialect's layouts.

#include <utility>

#include "bridge/wire/compiled_dialect.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/integers.h"
#include "bridge/wire/text_encoding.h"
#include "glog/logging.h"

namespace backup::wire {
namespace {

// What the fields of an answer hold.
struct Values {
  ClientId client_id;
  absl::string_view session_key = "";
  absl::string_view name_field = "";
  uint64_t content_size = 0;
  uint64_t checksum = 0;
};

struct ValuesOf {
  const Request* request;

  Values OfSender() const { return {request == nullptr ? ClientId() : request->client_id}; }

  Values operator()(const Registered& reply) const { return {reply.id}; }
  Values operator()(const RegistrationFailed&) const { return OfSender(); }
  Values operator()(const KeyAccepted& reply) const {
    return {reply.id, reply.encrypted_session_key};
  }
  Values operator()(const FileReceived& reply) const {
    return {reply.id, "", reply.name_field, reply.content_size, reply.checksum};
  }
  Values operator()(const Acknowledged& reply) const { return {reply.id}; }
  Values operator()(const Reconnected& reply) const {
    return {reply.id, reply.encrypted_session_key};
  }
  Values operator()(const ReconnectDenied& reply) const { return {reply.fresh_id}; }
  Values operator()(const GeneralError&) const { return OfSender(); }
};

struct KindOf {
  RequestKind operator()(const Register&) const { return RequestKind::kRegister; }
  RequestKind operator()(const SendPublicKey&) const { return RequestKind::kPublicKey; }
  RequestKind operator()(const Reconnect&) const { return RequestKind::kReconnect; }
  RequestKind operator()(const SendFile&) const { return RequestKind::kFile; }
  RequestKind operator()(const ChecksumVerdict& verdict) const {
    switch (verdict.kind) {
      case ChecksumVerdict::Kind::kValid:
        return RequestKind::kValid;
      case ChecksumVerdict::Kind::kRetry:
        return RequestKind::kRetry;
      case ChecksumVerdict::Kind::kAbort:
        return RequestKind::kAbort;
    }
    return RequestKind::kValid;
  }
};

bool Fits(const CompiledAnswer& answer, const Request* request) {
  if (answer.to && (request == nullptr || std::visit(KindOf(), request->operation) != *answer.to))
    return false;
  return !answer.to_id_in_payload || (request != nullptr && request->id_in_payload);
}

// The first that fits; the compiler has seen that there is one.
const CompiledAnswer& Choose(const CompiledDialect& dialect, AnswerKind kind,
                             const Request* request) {
  for (const CompiledAnswer& answer : dialect.answers) {
    if (answer.kind == kind && Fits(answer, request)) return answer;
  }
  CHECK(kind != AnswerKind::kGeneralError) << dialect.name;
  return Choose(dialect, AnswerKind::kGeneralError, request);
}

void AppendBytes(const Field& field, absl::string_view bytes, std::string& out) {
  const absl::string_view kept = bytes.substr(0, field.width);
  out.append(kept.data(), kept.size());
  out.append(field.width - kept.size(), field.fill);
}

void AppendField(const Field& field, const Values& values, const CompiledAnswer& answer,
                 uint64_t payload_size, std::string& out) {
  const auto append_integer = [&](uint64_t value) {
    AppendInteger(value, field.width, field.big_endian, out);
  };
  switch (field.kind) {
    case FieldKind::kClientId:
      return AppendBytes(field, EncodeText(field.text, values.client_id.bytes()), out);
    case FieldKind::kVersion:
    case FieldKind::kConstant:
      return append_integer(field.value);
    case FieldKind::kCode:
      return append_integer(answer.code);
    case FieldKind::kPayloadSize:
      return append_integer(payload_size);
    case FieldKind::kContentSize:
      return append_integer(values.content_size);
    case FieldKind::kChecksum:
      return append_integer(values.checksum);
    case FieldKind::kFileName:
      return AppendBytes(field, values.name_field, out);
    case FieldKind::kSessionKey:
      return AppendBytes(field, EncodeText(field.text, values.session_key), out);
    default:
      return AppendBytes(field, "", out);
  }
}

}  // namespace

std::string Dialect::EncodeReply(const Reply& reply, const Request* request) const {
  const auto kind = static_cast<AnswerKind>(reply.index());
  const CompiledAnswer& answer = Choose(*compiled_, kind, request);
  const Values values = std::visit(ValuesOf{request}, reply);
  const uint64_t payload_size =
      static_cast<uint64_t>(static_cast<int64_t>(answer.payload.size) - answer.uncounted_bytes);
  std::string out;
  out.reserve(compiled_->answer_header.size + answer.payload.size);
  for (const Layout* layout : {&compiled_->answer_header, &answer.payload}) {
    for (const Field& field : layout->fields) {
      AppendField(field, values, answer, payload_size, out);
    }
  }
  return out;
}

}  // namespace backup::wire
