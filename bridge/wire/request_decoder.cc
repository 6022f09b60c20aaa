// Requests by a dialect's layouts: header, then the fields of the payload, then what follows of
// content. How each kind may differ: proto/backup/bridge/v1/dialect.proto.

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bridge/wire/compiled_dialect.h"
#include "bridge/wire/content_size.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/integers.h"
#include "bridge/wire/text_encoding.h"

namespace backup::wire {
namespace {

using MaybeHead = absl::StatusOr<std::optional<DecodedHead>>;

// What the fields of a payload held.
struct Values {
  std::optional<ClientId> client_id;
  std::string client_name;
  std::string file_name;
  std::string name_field;
  std::string public_key;
  uint64_t content_size = 0;
  uint64_t original_size = 0;
  uint64_t packet_number = 0;
  uint64_t packet_total = 0;
};

// Where the fields of one payload are: the first may be missing or shorter, the last may be longer.
struct Extent {
  size_t first_width = 0;
  size_t last_width = 0;
  size_t size = 0;  // Of all fields.
};

absl::Status Broken(const RequestHeader& header, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("request ", header.code, " with a payload of ",
                                                 header.payload_size, " bytes: ", rule));
}

absl::string_view CutName(const Field& field, absl::string_view bytes) {
  switch (field.name_end) {
    case NameEnd::kAtNul:
      return bytes.substr(0, bytes.find('\0'));
    case NameEnd::kAtLastVisible:
      return bytes.substr(0, bytes.find_last_not_of(absl::string_view("\0 \r\n", 4)) + 1);
    case NameEnd::kAtLineFeed: {
      const absl::string_view line =
          bytes.substr(0, bytes.find_first_of(absl::string_view("\0\n", 2)));
      return absl::EndsWith(line, "\r") ? line.substr(0, line.size() - 1) : line;
    }
  }
  return bytes;
}

std::optional<ClientId> DecodeId(const Field& field, absl::string_view bytes) {
  if (field.text == TextEncoding::kBinary) return ClientId::FromBytes(bytes);
  const std::optional<std::string> id = DecodeText(field.text, bytes);
  return id ? ClientId::FromBytes(*id) : std::nullopt;
}

bool IsVariable(const Layout& payload) {
  const Field* first = payload.fields.empty() ? nullptr : &payload.fields.front();
  return first != nullptr &&
         (first->may_be_missing || first->may_be_shorter || payload.fields.back().width == 0);
}

// "CLIENT_NAME 255, PUBLIC_KEY 160".
std::string DescribeLayout(const Layout& payload) {
  std::string text;
  for (const Field& field : payload.fields) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", NameOf(field.kind), " ",
                    field.width == 0 ? field.max_width : field.width);
    if (field.width == 0) absl::StrAppend(&text, " at most");
    if (field.may_be_missing) absl::StrAppend(&text, " or nothing");
    if (field.may_be_shorter) absl::StrAppend(&text, " or less");
  }
  return text.empty() ? "nothing" : text;
}

// The extent of the fields of a payload of `size` bytes that is nothing but fields.
std::optional<Extent> ExtentIn(const Layout& payload, uint64_t size) {
  if (!IsVariable(payload)) {
    if (size != payload.size) return std::nullopt;
    const size_t first = payload.fields.empty() ? 0 : payload.fields.front().width;
    return Extent{first, payload.fields.empty() ? 0 : payload.fields.back().width, payload.size};
  }
  const Field& first = payload.fields.front();
  const Field& last = payload.fields.back();
  Extent extent{first.width, last.width,
                static_cast<size_t>(std::min<uint64_t>(size, kMaxHeadSize))};
  if (size >= payload.size) {
    extent.last_width = last.width + (size - payload.size);
    const bool fits = size == payload.size || last.width == 0;
    return fits && extent.last_width <= std::max(last.width, last.max_width) ? std::optional(extent)
                                                                             : std::nullopt;
  }
  const uint64_t missing = payload.size - size;
  if (first.may_be_missing && missing == first.width) extent.first_width = 0;
  if (first.may_be_shorter && missing <= first.width) extent.first_width = first.width - missing;
  return extent.first_width == first.width ? std::nullopt : std::optional(extent);
}

class Decoder {
 public:
  Decoder(const CompiledDialect& dialect, const RequestHeader& header, absl::string_view payload)
      : dialect_(dialect),
        header_(header),
        payload_(payload),
        id_(header.client_id),
        has_id_in_header_(dialect.request_header.Find(FieldKind::kClientId) != nullptr) {}

  MaybeHead Decode(const CompiledRequest& request) {
    const auto said =
        static_cast<int64_t>(std::min<uint64_t>(header_.payload_size, 2 * kMaxContentSize));
    if (request.payload_size_lies) {
      counted_ = request.payload.size;
      return request.kind == RequestKind::kFile ? DecodeFile(request) : DecodeFields(request);
    }
    if (said + request.uncounted_bytes < 0) return Broken(header_, "it is too small");
    counted_ = static_cast<uint64_t>(said + request.uncounted_bytes);
    return request.kind == RequestKind::kFile ? DecodeFile(request) : DecodeFields(request);
  }

  MaybeHead DecodeFile(const CompiledRequest& request) {
    const Layout& fields = request.payload;
    const std::optional<Extent> extent = ExtentOfFileFields(fields);
    if (!extent || payload_.size() < extent->size) return std::nullopt;
    ASSIGN_OR_RETURN(Values values, Read(fields, *extent));
    const bool id_in_payload = values.client_id.has_value();
    const absl::StatusOr<ContentSize> content =
        ContentSizeOf(dialect_, counted_, extent->size, values.content_size, id_in_payload);
    if (!content.ok()) return Broken(header_, content.status().message());
    SendFile file = FileOf(std::move(values), *content);
    if (file.packet && (file.packet->number == 0 || file.packet->total == 0)) return NoPacket();
    return Finish(std::move(file), extent->size, content->body_size, id_in_payload);
  }

  // The fields of a packet without a header, behind which `body_size` bytes follow.
  MaybeHead DecodeBarePacket(const CompiledRequest& request, uint64_t body_size) {
    const Extent extent{request.payload.fields.front().width, request.payload.fields.back().width,
                        request.payload.size};
    if (payload_.size() < extent.size) return std::nullopt;
    ASSIGN_OR_RETURN(Values values, Read(request.payload, extent));
    SendFile file = FileOf(std::move(values), ContentSize{body_size, "counted"});
    if (file.packet->number == 0 || file.packet->total == 0) return NoPacket();
    return Finish(std::move(file), extent.size, body_size, file.id_in_front);
  }

 private:
  absl::Status NoPacket() const {
    return Broken(header_, "packets and their totals are counted from 1");
  }

  // Requests other than files.
  MaybeHead DecodeFields(const CompiledRequest& request) {
    const std::optional<Extent> extent = ExtentIn(request.payload, counted_);
    if (!extent)
      return Broken(header_, absl::StrCat("it must be ", DescribeLayout(request.payload)));
    if (payload_.size() < extent->size) return std::nullopt;
    ASSIGN_OR_RETURN(Values values, Read(request.payload, *extent));
    const bool id_in_payload = values.client_id.has_value();
    return Finish(OperationOf(request.kind, std::move(values)), extent->size, 0, id_in_payload);
  }

  // Whether a field that begins like this can hold the header's id. Of text: digits in either case,
  // and NULs or blanks behind them.
  bool MayBeId(const Field& field, absl::string_view front) const {
    const std::string id = EncodeText(field.text, header_.client_id.bytes());
    const absl::string_view text = front.substr(0, id.size());
    const bool begins_so = field.text == TextEncoding::kHex ? absl::StartsWithIgnoreCase(id, text)
                                                            : absl::StartsWith(id, text);
    constexpr absl::string_view kFill("\0 ", 2);
    return begins_so &&
           front.substr(text.size()).find_first_not_of(kFill) == absl::string_view::npos;
  }

  // In front of a file's content only the bytes tell whether an id is there: nobody's content size
  // and name look like it, so a few of them do.
  std::optional<Extent> ExtentOfFileFields(const Layout& fields) const {
    const Field& first = fields.fields.front();
    Extent extent{first.width, fields.fields.back().width, fields.size};
    if (!first.may_be_missing) return extent;
    const absl::string_view front = payload_.substr(0, first.width);
    if (MayBeId(first, front)) {
      if (front.size() < first.width) return std::nullopt;
      return extent;
    }
    extent.first_width = 0;
    extent.size -= first.width;
    return extent;
  }

  absl::StatusOr<Values> Read(const Layout& layout, const Extent& extent) {
    Values values;
    if (layout.fields.empty()) return values;
    const Field* const first = &layout.fields.front();
    const Field* const last = &layout.fields.back();
    const size_t shift = first->width - extent.first_width;
    for (const Field& field : layout.fields) {
      size_t width = field.width;
      if (&field == first) width = extent.first_width;
      if (&field == last && field.width == 0) width = extent.last_width;
      if (&field == first && field.may_be_missing && width == 0) continue;
      const size_t at = &field == first ? 0 : field.offset - shift;
      RETURN_IF_ERROR(ReadField(field, payload_.substr(at, width), values));
    }
    return values;
  }

  absl::Status ReadField(const Field& field, absl::string_view bytes, Values& values) {
    switch (field.kind) {
      case FieldKind::kClientId:
        values.client_id = DecodeId(field, bytes);
        if (!values.client_id) return Broken(header_, "what should be the client's id is none");
        if (!has_id_in_header_) id_ = *values.client_id;
        if (*values.client_id == id_) return absl::OkStatus();
        return Broken(header_, "the id in the payload is not the one in the header");
      case FieldKind::kClientName:
        values.client_name = std::string(CutName(field, bytes));
        return absl::OkStatus();
      case FieldKind::kFileName:
        values.name_field = std::string(bytes);
        values.file_name = std::string(CutName(field, bytes));
        return absl::OkStatus();
      case FieldKind::kPublicKey: {
        std::optional<std::string> key = DecodeText(field.text, bytes);
        if (!key) return Broken(header_, "the key is not encoded as this dialect's are");
        values.public_key = *std::move(key);
        return absl::OkStatus();
      }
      case FieldKind::kContentSize:
        values.content_size = ReadInteger(bytes, field.big_endian);
        return absl::OkStatus();
      case FieldKind::kOriginalSize:
        values.original_size = ReadInteger(bytes, field.big_endian);
        return absl::OkStatus();
      case FieldKind::kPacketNumber:
        values.packet_number = ReadInteger(bytes, field.big_endian);
        return absl::OkStatus();
      case FieldKind::kPacketTotal:
        values.packet_total = ReadInteger(bytes, field.big_endian);
        return absl::OkStatus();
      case FieldKind::kConstant:
        if (ReadInteger(bytes, field.big_endian) == field.value) return absl::OkStatus();
        return Broken(header_, absl::StrCat("it has ", ReadInteger(bytes, field.big_endian),
                                            " where ", field.value, " must be"));
      case FieldKind::kVersion:
      case FieldKind::kCode:
      case FieldKind::kPayloadSize:
      case FieldKind::kSessionKey:
      case FieldKind::kChecksum:
      case FieldKind::kFill:
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  Operation OperationOf(RequestKind kind, Values values) const {
    const bool id_in_payload = values.client_id.has_value();
    switch (kind) {
      case RequestKind::kRegister:
        return Register{std::move(values.client_name)};
      case RequestKind::kPublicKey:
        return SendPublicKey{std::move(values.client_name), std::move(values.public_key),
                             dialect_.session_key};
      case RequestKind::kReconnect:
        return Reconnect{std::move(values.client_name), dialect_.session_key};
      case RequestKind::kFile:
        break;  // DecodeFile().
      case RequestKind::kValid:
        return ChecksumVerdict{ChecksumVerdict::Kind::kValid, std::move(values.file_name),
                               id_in_payload};
      case RequestKind::kRetry:
        return ChecksumVerdict{ChecksumVerdict::Kind::kRetry, std::move(values.file_name),
                               id_in_payload};
      case RequestKind::kAbort:
        return ChecksumVerdict{ChecksumVerdict::Kind::kAbort, std::move(values.file_name),
                               id_in_payload};
    }
    return SendFile{};
  }

  SendFile FileOf(Values values, const ContentSize& content) const {
    SendFile file;
    file.content_size = values.content_size;
    file.name_field = std::move(values.name_field);
    file.name = std::move(values.file_name);
    file.size_style = content.style;
    file.id_in_front = values.client_id.has_value();
    file.blocks_size = content.blocks_size;
    if (dialect_.content.packets) {
      const uint64_t first = dialect_.content.packets->counted_from_zero ? 0 : 1;
      file.packet =
          Packet{values.packet_number + 1 - first, values.packet_total, values.original_size};
    }
    file.first_checksum = FirstChecksum(file, content.body_size);
    if (dialect_.content.padded_with_zeros || dialect_.content.has_surplus)
      file.plaintext_size = PlaintextSize(values);
    return file;
  }

  // What is at the end is the file's own unless a size tells.
  std::optional<uint64_t> PlaintextSize(const Values& values) const {
    if (dialect_.HasOriginalSize()) return values.original_size;
    if (dialect_.content.content_size_of != SizeOf::kPlaintext) return std::nullopt;
    return CountedBy(dialect_.content, values.content_size);
  }

  Checksum FirstChecksum(const SendFile& file, uint64_t body_size) const {
    for (const CompiledChecksumRule& rule : dialect_.checksums) {
      if (!HasOrIsEmpty(rule.versions, header_.version)) continue;
      if (rule.id_in_payload && !file.id_in_front) continue;
      if (rule.content_size_of_plaintext &&
          (file.packet || !IsPlaintextSize(dialect_, file.content_size, body_size))) {
        continue;
      }
      return rule.checksum;
    }
    return Checksum::kCksumOfPlaintext;
  }

  absl::string_view LabelOf(RequestKind kind, bool id_in_payload) const {
    for (const CompiledLabel& label : dialect_.labels) {
      const bool is_of_kind =
          label.requests.empty() ||
          std::find(label.requests.begin(), label.requests.end(), kind) != label.requests.end();
      if (is_of_kind && (id_in_payload || !label.id_in_payload)) return label.name;
    }
    return dialect_.name;
  }

  DecodedHead Finish(Operation operation, size_t fields_size, uint64_t body_size,
                     bool id_in_payload) const {
    const RequestKind kind = dialect_.FindRequest(header_.code)->kind;
    return {{id_, header_.version, header_.code, std::move(operation), LabelOf(kind, id_in_payload),
             id_in_payload},
            fields_size,
            body_size};
  }

  const CompiledDialect& dialect_;
  const RequestHeader& header_;
  const absl::string_view payload_;
  ClientId id_;  // Of the header, or else of the payload.
  const bool has_id_in_header_;
  uint64_t counted_ = 0;  // Of the payload, by its size.
};

uint64_t IntegerOf(const Field& field, absl::string_view bytes) {
  return ReadInteger(bytes.substr(field.offset, field.width), field.big_endian);
}

bool IsOfVersion(const CompiledDialect& dialect, uint32_t version) {
  for (const uint32_t other : dialect.not_versions) {
    if (other == version) return false;
  }
  return HasOrIsEmpty(dialect.versions, version);
}

// Whether a request's header can have this field as it is in `header`.
bool MayHold(const CompiledDialect& dialect, const Field& field, absl::string_view header) {
  switch (field.kind) {
    case FieldKind::kVersion:
      return IsOfVersion(dialect, static_cast<uint32_t>(IntegerOf(field, header)));
    case FieldKind::kCode:
      return dialect.FindRequest(static_cast<uint32_t>(IntegerOf(field, header))) != nullptr;
    case FieldKind::kConstant:
      return IntegerOf(field, header) == field.value;
    default:
      return true;
  }
}

}  // namespace

std::optional<RequestHeader> Dialect::DecodeHeader(absl::string_view bytes) const {
  const Layout& layout = compiled_->request_header;
  if (bytes.size() < layout.size) return std::nullopt;
  RequestHeader header;
  for (const Field& field : layout.fields) {
    switch (field.kind) {
      case FieldKind::kClientId:
        header.client_id =
            DecodeId(field, bytes.substr(field.offset, field.width)).value_or(ClientId());
        break;
      case FieldKind::kVersion:
        header.version = static_cast<uint32_t>(IntegerOf(field, bytes));
        break;
      case FieldKind::kCode:
        header.code = static_cast<uint32_t>(IntegerOf(field, bytes));
        break;
      case FieldKind::kPayloadSize:
        header.payload_size = IntegerOf(field, bytes);
        break;
      case FieldKind::kConstant:
        header.is_genuine = header.is_genuine && IntegerOf(field, bytes) == field.value;
        break;
      default:
        break;
    }
  }
  return header;
}

bool Dialect::Claims(const RequestHeader& header) const {
  return header.is_genuine && compiled_->FindRequest(header.code) != nullptr &&
         IsOfVersion(*compiled_, header.version);
}

bool Dialect::MayClaim(absl::string_view bytes) const {
  for (const Field& field : compiled_->request_header.fields) {
    if (field.offset + field.width <= bytes.size() && !MayHold(*compiled_, field, bytes))
      return false;
  }
  return true;
}

bool Dialect::IsRegistration(const RequestHeader& header) const {
  const CompiledRequest* const request = compiled_->FindRequest(header.code);
  return request != nullptr && request->kind == RequestKind::kRegister;
}

MaybeHead Dialect::DecodeHead(absl::string_view bytes) const {
  const std::optional<RequestHeader> header = DecodeHeader(bytes);
  if (!header) return std::nullopt;
  const CompiledRequest* const request = compiled_->FindRequest(header->code);
  if (request == nullptr || !Claims(*header))
    return absl::InvalidArgumentError(absl::StrCat("request ", header->code, " of version ",
                                                   header->version, " is none of this dialect"));
  const size_t header_size = compiled_->request_header.size;
  Decoder decoder(*compiled_, *header, bytes.substr(header_size));
  ASSIGN_OR_RETURN(std::optional<DecodedHead> head, decoder.Decode(*request));
  if (head) head->head_size += header_size;
  return head;
}

MaybeHead Dialect::DecodeBarePacket(absl::string_view bytes, const DecodedHead& first) const {
  const RequestHeader header{.client_id = first.request.client_id,
                             .version = first.request.version,
                             .code = first.request.code};
  return Decoder(*compiled_, header, bytes)
      .DecodeBarePacket(*compiled_->FindRequest(header.code), first.body_size);
}

}  // namespace backup::wire
