#include "legacy_client/dialect_check.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/ids.h"
#include "legacy_client/fields.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::Answer;
using bridge::v1::Field;
using bridge::v1::FileContent;
using bridge::v1::MessagePadding;
using bridge::v1::Request;
using google::protobuf::RepeatedPtrField;
using ParseInfoTree = google::protobuf::TextFormat::ParseInfoTree;

constexpr uint32_t kMaxFieldWidth = 2048;
constexpr uint32_t kMaxPaddingMultiple = 4096;
constexpr uint32_t kMaxPieceSize = 1 << 30;
constexpr uint32_t kCipherBlockSize = 16;

constexpr Field::Kind kHeaderKinds[] = {Field::CLIENT_ID,    Field::VERSION, Field::CODE,
                                        Field::PAYLOAD_SIZE, Field::FILL,    Field::CONSTANT};
constexpr Field::Kind kOnlyInHeaders[] = {Field::VERSION, Field::CODE, Field::PAYLOAD_SIZE};
constexpr Field::Kind kOnlyInAnswers[] = {Field::SESSION_KEY, Field::CHECKSUM};
// What may be written as text.
constexpr Field::Kind kTextKinds[] = {Field::CLIENT_ID, Field::PUBLIC_KEY, Field::SESSION_KEY};

template <size_t kCount>
bool IsOneOf(Field::Kind kind, const Field::Kind (&kinds)[kCount]) {
  return std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
}

// A message of the description and where it is in the text.
struct Place {
  const ParseInfoTree* tree = nullptr;
  const google::protobuf::Descriptor* type = nullptr;
  int line = 0;  // Counts from 1.

  Place Nested(const char* field, int index) const {
    const auto* const descriptor = type->FindFieldByName(field);
    if (tree == nullptr) return {nullptr, descriptor->message_type(), line};
    const auto at = tree->GetLocation(descriptor, index);
    return {tree->GetTreeForNested(descriptor, index), descriptor->message_type(),
            at.line < 0 ? line : at.line + 1};
  }
  Place NestedOne(const char* field) const { return Nested(field, -1); }
};

class Checker {
 public:
  explicit Checker(absl::string_view path) : path_(path) {}

  void Check(const Dialect& dialect, const ParseInfoTree& places) {
    const Place top = {&places, Dialect::descriptor(), 1};
    CheckHeader(dialect.request_header(), top, "request_header", /*in_request=*/true);
    CheckHeader(dialect.answer_header(), top, "answer_header", /*in_request=*/false);
    CheckRequests(dialect, top);
    CheckAnswers(dialect, top);
    const Place padding = top.NestedOne("padding");
    const bool pads = dialect.padding().requests() != MessagePadding::NEVER ||
                      dialect.padding().answers() != MessagePadding::NEVER;
    Require(dialect.padding().multiple_of() <= kMaxPaddingMultiple, padding,
            absl::StrCat("multiple_of must be at most ", kMaxPaddingMultiple));
    Require(!pads || dialect.padding().multiple_of() > 0, padding, "multiple_of is missing");
    const uint32_t bits = dialect.cryptography().session_key_bits();
    Require(bits == 128 || bits == 256, top.NestedOne("cryptography"),
            "session_key_bits must be 128 or 256");
  }

  std::string Text() const { return absl::StrJoin(lines_, "\n"); }

 private:
  void Require(bool right, const Place& place, absl::string_view wrong) {
    if (!right) lines_.push_back(absl::StrCat(path_, ":", place.line, ": ", wrong));
  }

  void CheckHeader(const RepeatedPtrField<Field>& fields, const Place& top, const char* name,
                   bool in_request) {
    const Place first = fields.empty() ? top : top.Nested(name, 0);
    for (const Field::Kind kind : {Field::CODE, Field::PAYLOAD_SIZE}) {
      Require(FindField(fields, kind) != nullptr, first,
              absl::StrCat(name, " needs a ", Field::Kind_Name(kind)));
    }
    CheckFields(fields, top, name, in_request, /*rest_is_allowed=*/false);
    for (int i = 0; i < fields.size(); ++i) {
      Require(IsOneOf(fields[i].kind(), kHeaderKinds), top.Nested(name, i),
              absl::StrCat(Field::Kind_Name(fields[i].kind()), " cannot be in a header"));
    }
  }

  void CheckPayload(const RepeatedPtrField<Field>& fields, const Place& parent, bool in_request,
                    bool is_file) {
    CheckFields(fields, parent, "fields", in_request, /*rest_is_allowed=*/!is_file);
    for (int i = 0; i < fields.size(); ++i) {
      const Place place = parent.Nested("fields", i);
      Require(!IsOneOf(fields[i].kind(), kOnlyInHeaders), place,
              absl::StrCat(Field::Kind_Name(fields[i].kind()), " is for headers"));
      // A file is planned with fields of known widths.
      Require(!fields[i].may_be_shorter() || (in_request && i == 0 && !is_file), place,
              "only the first field of a request's payload, but not of a FILE, may be shorter");
    }
  }

  void CheckFields(const RepeatedPtrField<Field>& fields, const Place& parent, const char* name,
                   bool in_request, bool rest_is_allowed) {
    for (int i = 0; i < fields.size(); ++i) {
      const Field& field = fields[i];
      const Place place = parent.Nested(name, i);
      Require(field.kind() != Field::KIND_UNSPECIFIED, place, "the field has no kind");
      Require(!in_request || !IsOneOf(field.kind(), kOnlyInAnswers), place,
              absl::StrCat(Field::Kind_Name(field.kind()), " is for answers"));
      if (IsInteger(field.kind())) {
        const uint32_t width = field.width();
        Require(width == 1 || width == 2 || width == 4 || width == 8, place,
                "an integer's width must be 1, 2, 4 or 8");
      } else if (field.width() == 0) {
        Require(rest_is_allowed && i == fields.size() - 1, place,
                "only the last field of a payload without content may have width 0");
        Require(field.max_width() >= 1 && field.max_width() <= kMaxFieldWidth, place,
                absl::StrCat("max_width must be 1 to ", kMaxFieldWidth));
      } else {
        Require(field.width() <= kMaxFieldWidth, place,
                absl::StrCat("width must be at most ", kMaxFieldWidth));
      }
      Require(field.fill() <= 0xFF, place, "fill must be 0 to 255");
      const bool is_binary = field.text() == bridge::v1::BINARY;
      Require(is_binary || IsOneOf(field.kind(), kTextKinds), place,
              "only ids and keys can be text");
      Require(field.text() != bridge::v1::PEM || field.kind() == Field::PUBLIC_KEY, place,
              "PEM is for public keys");
      const auto id_size = static_cast<uint32_t>(TextSize(field.text(), ClientId::kSize));
      Require(field.kind() != Field::CLIENT_ID || RoomIn(field) >= id_size, place,
              absl::StrCat("a CLIENT_ID needs ", id_size, " bytes"));
    }
  }

  void CheckRequests(const Dialect& dialect, const Place& top) {
    for (const RequestKind kind :
         {RequestKind::REGISTER, RequestKind::PUBLIC_KEY, RequestKind::FILE, RequestKind::VALID}) {
      Require(FindRequest(dialect, kind) != nullptr, top,
              absl::StrCat("a request of kind ", RequestKind_Name(kind), " is missing"));
    }
    const Field* const code = FindField(dialect.request_header(), Field::CODE);
    for (int i = 0; i < dialect.requests_size(); ++i) {
      const Request& request = dialect.requests(i);
      const Place place = top.Nested("requests", i);
      const bool is_file = request.kind() == RequestKind::FILE;
      Require(request.kind() != RequestKind::REQUEST_KIND_UNSPECIFIED, place,
              "the request has no kind");
      Require(FindRequest(dialect, request.kind()) == &request, place,
              absl::StrCat(RequestKind_Name(request.kind()), " is there already"));
      Require(!request.codes().empty(), place, "the request has no code");
      for (const uint32_t one : request.codes()) {
        Require(code == nullptr || one <= MaxOf(*code), place,
                absl::StrCat("code ", one, " does not fit into the header"));
      }
      CheckPayload(request.fields(), place, /*in_request=*/true, is_file);
      Require(is_file == request.has_content(), place,
              is_file ? "a FILE needs its content described" : "only a FILE has content");
      if (is_file) CheckContent(request, place.NestedOne("content"));
    }
  }

  void CheckContent(const Request& request, const Place& place) {
    const FileContent& content = request.content();
    const bool has_size = FindField(request.fields(), Field::CONTENT_SIZE) != nullptr;
    Require(content.length() != FileContent::LENGTH_UNSPECIFIED, place, "length is missing");
    Require(content.length() == FileContent::BY_PAYLOAD_SIZE || has_size, place,
            "this length needs a CONTENT_SIZE");
    Require(content.content_size_counts() != FileContent::COUNTS_UNSPECIFIED || !has_size, place,
            "content_size_counts is missing");
    Require(content.text() != bridge::v1::PEM, place, "PEM is for public keys");
    const uint32_t piece = content.encrypted_piece_size();
    Require(piece % kCipherBlockSize == 0 && piece <= kMaxPieceSize, place,
            absl::StrCat("encrypted_piece_size must be a multiple of 16, at most ", kMaxPieceSize));
    Require(content.has_packets() + content.has_blocks() + (piece != 0) <= 1, place,
            "packets, blocks and encrypted_piece_size exclude each other");
    Require(
        content.text() == bridge::v1::BINARY || (!content.has_packets() && !content.has_blocks()),
        place, "content in packets or blocks cannot be text");
    if (content.has_blocks()) {
      const uint32_t size = content.blocks().size();
      Require(size != 0 && size % kCipherBlockSize == 0 && size <= kMaxPieceSize, place,
              absl::StrCat("a block's size must be a multiple of 16, at most ", kMaxPieceSize));
    }
    if (content.has_packets()) {
      Require(FindField(request.fields(), Field::PACKET_NUMBER) != nullptr &&
                  FindField(request.fields(), Field::PACKET_TOTAL) != nullptr,
              place, "packets need a PACKET_NUMBER and a PACKET_TOTAL");
    }
  }

  void CheckAnswers(const Dialect& dialect, const Place& top) {
    const bool reconnects = FindRequest(dialect, RequestKind::RECONNECT) != nullptr;
    for (int kind = AnswerKind::REGISTERED; kind <= AnswerKind::GENERAL_ERROR; ++kind) {
      const bool needed =
          reconnects || (kind != AnswerKind::RECONNECTED && kind != AnswerKind::RECONNECT_DENIED);
      const bool is_there =
          std::any_of(dialect.answers().begin(), dialect.answers().end(),
                      [&](const Answer& answer) { return answer.kind() == kind; });
      Require(is_there || !needed, top,
              absl::StrCat("an answer of kind ", AnswerKind_Name(static_cast<AnswerKind>(kind)),
                           " is missing"));
    }
    for (int i = 0; i < dialect.answers_size(); ++i) {
      const Answer& answer = dialect.answers(i);
      const Place place = top.Nested("answers", i);
      Require(answer.kind() != AnswerKind::ANSWER_KIND_UNSPECIFIED, place,
              "the answer has no kind");
      CheckPayload(answer.fields(), place, /*in_request=*/false, /*is_file=*/false);
      const bool is_with_key =
          answer.kind() == AnswerKind::KEY_ACCEPTED || answer.kind() == AnswerKind::RECONNECTED;
      Require(!is_with_key || FindField(answer.fields(), Field::SESSION_KEY) != nullptr, place,
              "the answer needs a SESSION_KEY");
      Require(answer.kind() != AnswerKind::FILE_RECEIVED ||
                  FindField(answer.fields(), Field::CHECKSUM) != nullptr,
              place, "the answer needs a CHECKSUM");
    }
  }

  const absl::string_view path_;
  std::vector<std::string> lines_;
};

}  // namespace

std::string CheckDialect(const Dialect& dialect, const ParseInfoTree& places,
                         absl::string_view path) {
  Checker checker(path);
  checker.Check(dialect, places);
  return checker.Text();
}

}  // namespace backup::legacy_client
