// From a description (proto/backup/bridge/v1/dialect.proto) to what the decoder reads.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "backup/bridge/v1/dialect.pb.h"
#include "base/status_macros.h"
#include "bridge/wire/compiled_dialect.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/dialect_checker.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace backup::wire {
namespace {

namespace v1 = bridge::v1;

constexpr size_t kMaxTextSize = 256 << 10;

class SyntaxErrors : public google::protobuf::io::ErrorCollector {
 public:
  explicit SyntaxErrors(DialectErrors& errors) : errors_(errors) {}

  void AddError(int line, google::protobuf::io::ColumnNumber, const std::string& what) override {
    errors_.Add(line + 1, what);
  }

 private:
  DialectErrors& errors_;
};

// The enumerators of compiled_dialect.h are in the order of dialect.proto, which has "unspecified"
// in front.
template <typename Enum>
Enum Compiled(int value) {
  return static_cast<Enum>(value - 1);
}

TextEncoding Compile(v1::TextEncoding text) {
  switch (text) {
    case v1::HEX:
      return TextEncoding::kHex;
    case v1::BASE64:
      return TextEncoding::kBase64;
    case v1::PEM:
      return TextEncoding::kPem;
    default:
      return TextEncoding::kBinary;
  }
}

Layout Compile(const google::protobuf::RepeatedPtrField<v1::Field>& fields,
               v1::ByteOrder byte_order) {
  Layout layout;
  for (const v1::Field& field : fields) {
    const v1::ByteOrder order =
        field.byte_order() == v1::BYTE_ORDER_UNSPECIFIED ? byte_order : field.byte_order();
    layout.fields.push_back({.kind = Compiled<FieldKind>(field.kind()),
                             .offset = layout.size,
                             .width = field.width(),
                             .max_width = field.max_width(),
                             .big_endian = order == v1::BIG,
                             .text = Compile(field.text()),
                             .value = field.value(),
                             .fill = static_cast<char>(field.fill()),
                             .may_be_missing = field.may_be_missing(),
                             .may_be_shorter = field.may_be_shorter(),
                             .name_end = static_cast<NameEnd>(field.name_end())});
    layout.size += field.width();
  }
  return layout;
}

SizeOf Compile(v1::FileContent::Counts counts) {
  switch (counts) {
    case v1::FileContent::CIPHERTEXT:
      return SizeOf::kCiphertext;
    case v1::FileContent::PLAINTEXT:
      return SizeOf::kPlaintext;
    case v1::FileContent::WIRE:
      return SizeOf::kWire;
    case v1::FileContent::NOTHING:
      return SizeOf::kNothing;
    default:
      return SizeOf::kEither;
  }
}

Checksum Compile(v1::ChecksumRule::Checksum checksum) {
  switch (checksum) {
    case v1::ChecksumRule::CRC32_OF_CIPHERTEXT:
      return Checksum::kCrc32OfCiphertext;
    case v1::ChecksumRule::CKSUM_OF_CIPHERTEXT:
      return Checksum::kCksumOfCiphertext;
    case v1::ChecksumRule::CRC32_OF_PLAINTEXT:
      return Checksum::kCrc32OfPlaintext;
    default:
      return Checksum::kCksumOfPlaintext;
  }
}

PaddingUse Compile(v1::MessagePadding::When when) {
  switch (when) {
    case v1::MessagePadding::ALWAYS:
      return PaddingUse::kAlways;
    case v1::MessagePadding::BY_CLIENT:
      return PaddingUse::kByClient;
    default:
      return PaddingUse::kNever;
  }
}

template <typename Values>
std::vector<uint32_t> VectorOf(const Values& values) {
  return {values.begin(), values.end()};
}

void CompileContent(const v1::FileContent& content, CompiledDialect& dialect) {
  dialect.content_length = Compiled<LengthBy>(content.length());
  ContentTraits& traits = dialect.content;
  traits.text = Compile(content.text());
  traits.text_line_width = content.text_line_width();
  traits.text_line_break_size = content.text_line_break() == v1::FileContent::LINE_FEED ? 1 : 2;
  traits.text_ends_with_line_break = !content.text_ends_without_line_break();
  traits.content_size_of = Compile(content.content_size_counts());
  traits.content_size_excess = content.content_size_excess();
  traits.content_size_factor = std::max(content.content_size_factor(), uint32_t{1});
  traits.encrypted_piece_size = content.encrypted_piece_size();
  if (content.has_packets()) {
    const v1::Packets& packets = content.packets();
    traits.packets = PacketTraits{static_cast<PacketTraits::Encryption>(packets.encryption()),
                                  packets.numbers_may_be_swapped(),
                                  packets.surplus_is_ignored(),
                                  packets.header_on_first_only(),
                                  !packets.last_is_shorter(),
                                  packets.counted_from_zero()};
  }
  if (content.has_blocks())
    traits.blocks = BlockTraits{content.blocks().size(), content.blocks().last_is_filled()};
}

void CompileRequests(const v1::Dialect& description, CompiledDialect& dialect) {
  for (const v1::Request& request : description.requests()) {
    for (const uint32_t code : request.codes()) {
      dialect.codes.push_back({code, dialect.requests.size()});
    }
    dialect.requests.push_back({Compiled<RequestKind>(request.kind()),
                                Compile(request.fields(), description.byte_order()),
                                request.uncounted_bytes(), request.payload_size_lies()});
    if (request.has_content()) CompileContent(request.content(), dialect);
  }
}

void CompileAnswers(const v1::Dialect& description, CompiledDialect& dialect) {
  for (const v1::Answer& answer : description.answers()) {
    CompiledAnswer compiled{Compiled<AnswerKind>(answer.kind()),
                            answer.code(),
                            Compile(answer.fields(), description.byte_order()),
                            answer.uncounted_bytes(),
                            std::nullopt,
                            answer.to_id_in_payload()};
    if (answer.to() != v1::REQUEST_KIND_UNSPECIFIED)
      compiled.to = Compiled<RequestKind>(answer.to());
    dialect.answers.push_back(std::move(compiled));
  }
}

void CompileConversation(const v1::Conversation& conversation, CompiledDialect& dialect) {
  using C = v1::Conversation;
  dialect.retry_answer = static_cast<RetryAnswer>(conversation.retry_answer());
  dialect.ends_connection = conversation.end_after_answer() != C::STAYS_OPEN;
  dialect.ends_only_if_padded = conversation.end_after_answer() == C::ENDS_IF_PADDED;
  dialect.end_versions = VectorOf(conversation.end_versions());
  dialect.looks_up_zero_ids = conversation.zero_id() == C::BY_NAME;
}

void CompileRules(const v1::Dialect& description, CompiledDialect& dialect) {
  for (const v1::ChecksumRule& rule : description.checksums()) {
    dialect.checksums.push_back({VectorOf(rule.versions()), rule.id_in_payload(),
                                 rule.content_size_of_plaintext(), Compile(rule.checksum())});
  }
  for (const v1::Label& label : description.labels()) {
    CompiledLabel compiled{label.name(), {}, label.id_in_payload()};
    for (const int kind : label.requests()) {
      compiled.requests.push_back(Compiled<RequestKind>(kind));
    }
    dialect.labels.push_back(std::move(compiled));
  }
}

CompiledDialect Compile(const v1::Dialect& description, absl::string_view text, std::string where) {
  CompiledDialect dialect;
  dialect.where = std::move(where);
  dialect.name = description.name();
  dialect.source = std::string(text);
  const v1::Recognition& recognition = description.recognition();
  dialect.versions = VectorOf(recognition.versions());
  dialect.not_versions = VectorOf(recognition.not_versions());
  dialect.same_requests_as = {recognition.same_requests_as().begin(),
                              recognition.same_requests_as().end()};
  dialect.ports = {recognition.ports().begin(), recognition.ports().end()};
  dialect.request_header = Compile(description.request_header(), description.byte_order());
  dialect.answer_header = Compile(description.answer_header(), description.byte_order());
  CompileRequests(description, dialect);
  CompileAnswers(description, dialect);
  if (description.has_padding()) {
    dialect.padding = {description.padding().multiple_of(),
                       Compile(description.padding().requests()),
                       Compile(description.padding().answers())};
  }
  const v1::Cryptography& crypto = description.cryptography();
  dialect.session_key = {static_cast<int>(crypto.session_key_bits()),
                         crypto.key_encryption() == v1::Cryptography::RSAES_PKCS1_V15};
  dialect.content.initial_vector_in_front = crypto.initial_vector() == v1::Cryptography::IN_FRONT;
  dialect.content.padded_with_zeros = crypto.padding() == v1::Cryptography::ZEROS;
  dialect.content.has_surplus = crypto.padding() == v1::Cryptography::PKCS7_AND_SURPLUS;
  CompileConversation(description.conversation(), dialect);
  CompileRules(description, dialect);
  return dialect;
}

}  // namespace

absl::StatusOr<Dialect> ParseDialect(absl::string_view text, absl::string_view file_name) {
  DialectErrors errors(file_name);
  if (text.size() > kMaxTextSize) {
    errors.Add(1, absl::StrCat("more than ", kMaxTextSize, " bytes"));
    return errors.status();
  }
  SyntaxErrors syntax_errors(errors);
  Place::Tree tree;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&syntax_errors);
  parser.WriteLocationsTo(&tree);
  v1::Dialect description;
  if (!parser.ParseFromString(std::string(text), &description)) return errors.status();
  const Place place(&tree, 1);
  CheckDialect(description, place, errors);
  RETURN_IF_ERROR(errors.status());
  std::string where = absl::StrCat(file_name, ":", place.LineOf(description, "recognition"));
  return Dialect(
      std::make_shared<const CompiledDialect>(Compile(description, text, std::move(where))));
}

absl::string_view NameOf(AnswerKind kind) {
  return v1::AnswerKind_Name(static_cast<v1::AnswerKind>(static_cast<int>(kind) + 1));
}

absl::string_view NameOf(FieldKind kind) {
  return v1::Field::Kind_Name(static_cast<v1::Field::Kind>(static_cast<int>(kind) + 1));
}

}  // namespace backup::wire
