#include "legacy_client/frames.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "legacy_client/fields.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::Cryptography;
using bridge::v1::Field;
using bridge::v1::MessagePadding;
using google::protobuf::RepeatedPtrField;

size_t SumOfWidths(const RepeatedPtrField<Field>& fields) {
  size_t size = 0;
  for (const Field& field : fields) size += field.width();
  return size;
}

int64_t Padding(const MessagePadding& padding, MessagePadding::When when, int64_t size) {
  CHECK_NE(when, MessagePadding::BY_CLIENT);
  if (when == MessagePadding::NEVER) return 0;
  const int64_t multiple = padding.multiple_of();
  return (multiple - size % multiple) % multiple;
}

// What may come after a request; what is likeliest first.
std::vector<AnswerKind> AnswersTo(RequestKind asked) {
  switch (asked) {
    case RequestKind::REGISTER:
      return {AnswerKind::REGISTERED, AnswerKind::REGISTRATION_FAILED, AnswerKind::GENERAL_ERROR};
    case RequestKind::PUBLIC_KEY:
      return {AnswerKind::KEY_ACCEPTED, AnswerKind::GENERAL_ERROR};
    case RequestKind::RECONNECT:
      return {AnswerKind::RECONNECTED, AnswerKind::RECONNECT_DENIED, AnswerKind::GENERAL_ERROR};
    case RequestKind::FILE:  // A late answer to a retry notice may be before the file's.
      return {AnswerKind::FILE_RECEIVED, AnswerKind::GENERAL_ERROR, AnswerKind::ACKNOWLEDGED};
    default:
      return {AnswerKind::ACKNOWLEDGED, AnswerKind::GENERAL_ERROR};
  }
}

absl::Status WrongBytes(const Field& field) {
  return absl::DataLossError(absl::StrCat("the server's answer has no right ",
                                          absl::AsciiStrToLower(Field::Kind_Name(field.kind()))));
}

absl::Status CheckName(const Field& field, absl::string_view name, absl::string_view whose) {
  if (HoldsName(field, name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the ", whose, "'s name, ", name.size(),
                                                 " bytes, does not fit into its field of ",
                                                 RoomIn(field)));
}

}  // namespace

Frames::Frames(Dialect dialect, FrameStyle style)
    : dialect_(std::move(dialect)),
      style_(style),
      request_header_size_(SumOfWidths(dialect_.request_header())),
      answer_header_size_(SumOfWidths(dialect_.answer_header())) {}

const bridge::v1::Request& Frames::Get(RequestKind kind) const {
  const bridge::v1::Request* const request = FindRequest(dialect_, kind);
  CHECK(request != nullptr) << RequestKind_Name(kind);
  return *request;
}

absl::Status Frames::Check(RequestKind kind, const RequestValues& values) const {
  for (const Field& field : Get(kind).fields()) {
    if (field.kind() == Field::CLIENT_NAME) {
      RETURN_IF_ERROR(CheckName(field, values.client_name, "client"));
    } else if (field.kind() == Field::FILE_NAME) {
      RETURN_IF_ERROR(CheckName(field, values.file_name, "file"));
    } else if (field.kind() == Field::PUBLIC_KEY) {
      const size_t size = PublicKeyText(field, values.public_key).size();
      if (size > RoomIn(field)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the public key, ", size, " bytes, does not fit into its field of ", RoomIn(field)));
      }
    }
  }
  if (kind == RequestKind::FILE) return absl::OkStatus();
  const int64_t size = std::ssize(Fields(kind, values)) - Get(kind).uncounted_bytes();
  if (size >= 0 && size <= LargestValue(kind, Field::PAYLOAD_SIZE)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "a payload size of ", size, " does not fit into the header of a ", RequestKind_Name(kind)));
}

std::string Frames::Header(RequestKind kind, const RequestValues& values,
                           int64_t payload_size) const {
  const bridge::v1::Request& request = Get(kind);
  std::string bytes;
  for (const Field& field : dialect_.request_header()) {
    Append(field, request, values, payload_size - request.uncounted_bytes(), bytes);
  }
  return bytes;
}

std::string Frames::Fields(RequestKind kind, const RequestValues& values) const {
  const bridge::v1::Request& request = Get(kind);
  std::string bytes;
  for (const Field& field : request.fields()) Append(field, request, values, 0, bytes);
  return bytes;
}

std::string Frames::Request(RequestKind kind, const RequestValues& values) const {
  const std::string fields = Fields(kind, values);
  return absl::StrCat(Header(kind, values, static_cast<int64_t>(fields.size())), fields);
}

int64_t Frames::RequestPadding(int64_t size) const {
  return Padding(dialect_.padding(), dialect_.padding().requests(), size);
}

int64_t Frames::AnswerPadding(int64_t size) const {
  return Padding(dialect_.padding(), dialect_.padding().answers(), size);
}

int64_t Frames::LargestValue(RequestKind kind, Field::Kind field) const {
  int64_t largest = std::numeric_limits<int64_t>::max();
  for (const auto* fields : {&dialect_.request_header(), &Get(kind).fields()}) {
    const Field* const found = FindField(*fields, field);
    if (found != nullptr) largest = std::min(largest, MaxOf(*found));
  }
  return largest;
}

void Frames::Append(const Field& field, const bridge::v1::Request& request,
                    const RequestValues& values, int64_t payload_size, std::string& out) const {
  const auto append_integer = [&](uint64_t value) {
    CHECK(field.width() >= sizeof(value) || value >> (8 * field.width()) == 0)
        << Field::Kind_Name(field.kind()) << " " << value;
    AppendInteger(field, dialect_.byte_order(), value, out);
  };
  switch (field.kind()) {
    case Field::CLIENT_ID:
      return AppendBytes(field, EncodeText(field.text(), values.id.bytes()), out);
    case Field::VERSION:
      return append_integer(style_.version);
    case Field::CODE:
      return append_integer(request.codes(0));
    case Field::PAYLOAD_SIZE:
      return append_integer(static_cast<uint64_t>(payload_size));
    case Field::CLIENT_NAME:
    case Field::FILE_NAME: {
      const bool is_file = field.kind() == Field::FILE_NAME;
      const absl::string_view name = is_file ? values.file_name : values.client_name;
      if (field.may_be_shorter() && style_.short_fields) return AppendBytes(field, name, out);
      return AppendName(field, name, out);
    }
    case Field::PUBLIC_KEY:
      return AppendBytes(field, PublicKeyText(field, values.public_key), out);
    case Field::CONTENT_SIZE:
      return append_integer(static_cast<uint64_t>(values.content_size));
    case Field::ORIGINAL_SIZE:
      return append_integer(static_cast<uint64_t>(values.original_size));
    case Field::PACKET_NUMBER:
      return append_integer(static_cast<uint64_t>(values.packet_number));
    case Field::PACKET_TOTAL:
      return append_integer(static_cast<uint64_t>(values.packet_total));
    case Field::CONSTANT:
      return AppendInteger(field, dialect_.byte_order(), field.value(), out);
    default:
      return AppendBytes(field, "", out);
  }
}

void Frames::AppendBytes(const Field& field, absl::string_view bytes, std::string& out) const {
  if (field.may_be_shorter() && style_.short_fields) {
    absl::StrAppend(&out, bytes);
  } else {
    AppendFilled(field, bytes, out);
  }
}

std::string Frames::PublicKeyText(const Field& field, absl::string_view der) const {
  const bool is_pkcs1 = dialect_.cryptography().public_key_form() == Cryptography::PKCS1;
  return EncodeText(field.text(), der, is_pkcs1 ? "RSA PUBLIC KEY" : "PUBLIC KEY");
}

// Several answers may have one code; null if none has it.
const bridge::v1::Answer* Frames::FindAnswer(uint64_t code, RequestKind asked) const {
  const std::vector<AnswerKind> expected = AnswersTo(asked);
  const bridge::v1::Answer* best = nullptr;
  auto best_rank = expected.end();
  for (const bridge::v1::Answer& answer : dialect_.answers()) {
    const bool is_late = asked == RequestKind::FILE && answer.kind() == AnswerKind::ACKNOWLEDGED;
    const RequestKind to = is_late ? RequestKind::RETRY : asked;
    const bridge::v1::Request* const request = FindRequest(dialect_, to);
    const bool id_in_payload =
        request != nullptr && FindField(request->fields(), Field::CLIENT_ID) != nullptr;
    const bool is_to_another =
        answer.to() != RequestKind::REQUEST_KIND_UNSPECIFIED && answer.to() != to;
    if (answer.code() != code || is_to_another || (answer.to_id_in_payload() && !id_in_payload)) {
      continue;
    }
    const auto rank = std::find(expected.begin(), expected.end(), answer.kind());
    if (best == nullptr || rank < best_rank) {
      best = &answer;
      best_rank = rank;
    }
  }
  return best;
}

absl::StatusOr<AnswerHeader> Frames::DecodeAnswerHeader(absl::string_view header,
                                                        RequestKind asked) const {
  CHECK_EQ(header.size(), answer_header_size_);
  uint64_t code = 0;
  uint64_t payload_size = 0;
  for (const Field& field : dialect_.answer_header()) {
    const absl::string_view bytes = header.substr(0, field.width());
    header.remove_prefix(field.width());
    if (!IsInteger(field.kind())) continue;
    const uint64_t value = DecodeInteger(field, dialect_.byte_order(), bytes);
    if (field.kind() == Field::CODE) code = value;
    if (field.kind() == Field::PAYLOAD_SIZE) payload_size = value;
    if (field.kind() == Field::VERSION && value != field.value()) {
      return absl::DataLossError(absl::StrCat("the server answers with version ", value));
    }
  }
  AnswerHeader decoded;
  decoded.layout = FindAnswer(code, asked);
  if (decoded.layout == nullptr) {
    return absl::DataLossError(absl::StrCat("the server answers with the unknown code ", code));
  }
  decoded.kind = decoded.layout->kind();
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
  decoded.payload_size = static_cast<int64_t>(std::min(payload_size, kLargest));
  decoded.payload_size += decoded.layout->uncounted_bytes();
  if (decoded.payload_size < 0) {
    return absl::DataLossError(
        absl::StrCat("the server's answer says that it has ", payload_size, " bytes"));
  }
  return decoded;
}

absl::StatusOr<AnswerValues> Frames::Decode(const Answer& answer) const {
  AnswerValues values;
  RETURN_IF_ERROR(Decode(dialect_.answer_header(), answer.header_bytes, values));
  RETURN_IF_ERROR(Decode(answer.header.layout->fields(), answer.payload, values));
  return values;
}

absl::Status Frames::Decode(const RepeatedPtrField<Field>& fields, absl::string_view bytes,
                            AnswerValues& values) const {
  const size_t fixed = SumOfWidths(fields);
  const bool has_rest = !fields.empty() && fields.rbegin()->width() == 0;
  if (bytes.size() < fixed || (!has_rest && bytes.size() > fixed)) {
    return absl::DataLossError(
        absl::StrCat("the server's answer has ", bytes.size(), " bytes, not ", fixed));
  }
  for (const Field& field : fields) {
    const size_t width = field.width() == 0 ? bytes.size() : field.width();
    RETURN_IF_ERROR(DecodeField(field, bytes.substr(0, width), values));
    bytes.remove_prefix(width);
  }
  return absl::OkStatus();
}

absl::Status Frames::DecodeField(const Field& field, absl::string_view bytes,
                                 AnswerValues& values) const {
  const auto integer = [&] { return DecodeInteger(field, dialect_.byte_order(), bytes); };
  switch (field.kind()) {
    case Field::CLIENT_ID: {
      const absl::string_view all =
          field.text() == bridge::v1::BINARY ? bytes.substr(0, ClientId::kSize) : bytes;
      const std::optional<std::string> id = DecodeText(field.text(), all);
      values.id = id ? ClientId::FromBytes(*id) : std::nullopt;
      return values.id ? absl::OkStatus() : WrongBytes(field);
    }
    case Field::SESSION_KEY: {
      const absl::string_view all =
          field.text() == bridge::v1::BINARY ? bytes.substr(0, kEncryptedKeySize) : bytes;
      values.encrypted_key = DecodeText(field.text(), all);
      const bool is_key = values.encrypted_key && values.encrypted_key->size() == kEncryptedKeySize;
      return is_key ? absl::OkStatus() : WrongBytes(field);
    }
    case Field::CONTENT_SIZE:
      values.content_size = static_cast<int64_t>(integer());
      return absl::OkStatus();
    case Field::FILE_NAME:
      values.file_name_field = std::string(bytes);
      return absl::OkStatus();
    case Field::CHECKSUM:
      values.checksum = integer();
      return absl::OkStatus();
    case Field::CONSTANT:
      return integer() == field.value() ? absl::OkStatus() : WrongBytes(field);
    default:
      return absl::OkStatus();
  }
}

bool Frames::IsEcho(absl::string_view field, absl::string_view name) const {
  const Field* const asked = FindField(Get(RequestKind::FILE).fields(), Field::FILE_NAME);
  if (asked == nullptr) return true;
  std::string sent;
  AppendName(*asked, name, sent);
  const size_t common = std::min(sent.size(), field.size());
  return field.substr(0, common) == absl::string_view(sent).substr(0, common);
}

std::string ToText(AnswerKind kind) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(AnswerKind_Name(kind)), {{"_", " "}});
}

}  // namespace backup::legacy_client
