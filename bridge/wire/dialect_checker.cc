#include "bridge/wire/dialect_checker.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bridge/wire/content_size.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/integers.h"

namespace backup::wire {
namespace {

namespace v1 = bridge::v1;
using Kind = v1::Field::Kind;
using google::protobuf::Message;

constexpr size_t kMaxNameSize = 32;
constexpr int kMaxFields = 64;
constexpr int kMaxEntries = 64;  // Of each list.
constexpr uint32_t kMaxFieldWidth = 2048;
constexpr uint32_t kMaxPieceSize = 1 << 20;
constexpr uint32_t kMaxBlockSize = 1 << 16;
constexpr uint32_t kMaxLineWidth = 1024;
constexpr uint32_t kMaxFactor = 16;
constexpr uint32_t kMaxMultipleOf = 4096;
constexpr uint32_t kMaxPort = 65535;
constexpr uint32_t kIdSize = 16;
constexpr uint32_t kEncryptedKeySize = 128;
constexpr uint32_t kChecksumSize = 4;
constexpr uint32_t kCipherBlockSize = 16;

bool IsOneOf(int value, std::initializer_list<int> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool IsInteger(Kind kind) {
  return IsOneOf(kind, {v1::Field::VERSION, v1::Field::CODE, v1::Field::PAYLOAD_SIZE,
                        v1::Field::CONTENT_SIZE, v1::Field::ORIGINAL_SIZE, v1::Field::PACKET_NUMBER,
                        v1::Field::PACKET_TOTAL, v1::Field::CHECKSUM, v1::Field::CONSTANT});
}

bool IsName(Kind kind) { return IsOneOf(kind, {v1::Field::CLIENT_NAME, v1::Field::FILE_NAME}); }

// How many characters `size` bytes become.
uint32_t TextWidth(v1::TextEncoding text, uint32_t size) {
  if (text == v1::HEX) return 2 * size;
  return text == v1::BINARY ? size : (size + 2) / 3 * 4;
}

// A list of fields and what is allowed in it.
struct FieldList {
  const Message& owner;
  const google::protobuf::RepeatedPtrField<v1::Field>& fields;
  const char* name;  // Of the list in its owner.
  const Place& place;
  std::string of;  // "the request header", "FILE".
  std::set<int> allowed;
  std::set<int> required;
  bool is_request_payload = false;
};

class Checker {
 public:
  explicit Checker(DialectErrors& errors) : errors_(errors) {}

  void Check(const v1::Dialect& dialect, const Place& place) {
    CheckMessage(dialect, place);
    CheckName(dialect.name(), place.LineOf(dialect, "name"));
    CheckHeaders(dialect, place);
    CheckRecognition(dialect, place);
    CheckRequests(dialect, place);
    CheckAnswers(dialect, place);
    CheckPadding(dialect, place);
    CheckCryptography(dialect, place);
    CheckChecksums(dialect, place);
    CheckConversation(dialect, place);
    for (int i = 0; i < dialect.labels_size(); ++i) {
      CheckName(dialect.labels(i).name(),
                place.Of(dialect, "labels", i).LineOf(dialect.labels(i), "name"));
    }
  }

 private:
  template <typename... Parts>
  void Add(int line, const Parts&... parts) {
    errors_.Add(line, absl::StrCat(parts...));
  }

  // What every list and every enumeration of a description keeps to.
  void CheckMessage(const Message& message, const Place& place) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const google::protobuf::FieldDescriptor* field : fields) {
      const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
      const char* const name = field->name().c_str();
      if (size > kMaxEntries)
        return Add(place.LineOf(message, name), "more than ", kMaxEntries, " ", name);
      for (int i = 0; i < size; ++i) CheckEntry(message, *field, i, place);
    }
  }

  void CheckEntry(const Message& message, const google::protobuf::FieldDescriptor& field, int index,
                  const Place& place) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    const char* const name = field.name().c_str();
    if (field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      const Message& entry = field.is_repeated()
                                 ? reflection.GetRepeatedMessage(message, &field, index)
                                 : reflection.GetMessage(message, &field);
      return CheckMessage(entry, place.Of(message, name, index));
    }
    if (field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_ENUM) return;
    const int value = field.is_repeated() ? reflection.GetRepeatedEnumValue(message, &field, index)
                                          : reflection.GetEnumValue(message, &field);
    if (field.enum_type()->FindValueByNumber(value) == nullptr)
      Add(place.LineOf(message, name, index), name, ": ", value, " means nothing");
  }

  void CheckName(const std::string& name, int line) {
    const bool is_plain = std::all_of(name.begin(), name.end(), [](char c) {
      return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-_/", c);
    });
    if (name.empty() || name.size() > kMaxNameSize || !is_plain)
      Add(line, "a name must be 1 to ", kMaxNameSize, " letters, digits, '-', '_' or '/'");
  }

  // Fields.

  void CheckHeaders(const v1::Dialect& dialect, const Place& place) {
    using F = v1::Field;
    const std::set<int> allowed = {F::CLIENT_ID,    F::VERSION, F::CODE,
                                   F::PAYLOAD_SIZE, F::FILL,    F::CONSTANT};
    CheckFields({dialect,
                 dialect.request_header(),
                 "request_header",
                 place,
                 "the request header",
                 allowed,
                 {F::CODE, F::PAYLOAD_SIZE}});
    CheckFields({dialect,
                 dialect.answer_header(),
                 "answer_header",
                 place,
                 "the answer header",
                 allowed,
                 {F::CODE, F::PAYLOAD_SIZE}});
  }

  void CheckFields(const FieldList& list) {
    std::map<int, int> count;
    uint64_t size = 0;
    for (int i = 0; i < list.fields.size(); ++i) {
      const v1::Field& field = list.fields[i];
      const Place at = list.place.Of(list.owner, list.name, i);
      const int line = at.line();
      const std::string name = v1::Field::Kind_Name(field.kind());
      size += field.width() == 0 ? field.max_width() : field.width();
      if (!list.allowed.contains(field.kind())) {
        Add(line, name, " cannot be in ", list.of);
      } else if (++count[field.kind()] == 2 &&
                 !IsOneOf(field.kind(), {v1::Field::FILL, v1::Field::CONSTANT})) {
        Add(line, list.of, " has ", name, " twice");
      }
      CheckWidth(list, field, i, at);
      CheckFreedom(list, field, i, line);
      if (field.fill() > 0xFF) Add(at.LineOf(field, "fill"), "a fill byte is 0 to 255");
      if (IsInteger(field.kind()) && !FitsInto(field.value(), field.width()))
        Add(at.LineOf(field, "value"), "the value does not fit into ", field.width(), " bytes");
      if (field.text() != v1::BINARY &&
          !IsOneOf(field.kind(),
                   {v1::Field::CLIENT_ID, v1::Field::PUBLIC_KEY, v1::Field::SESSION_KEY})) {
        Add(at.LineOf(field, "text"), "only ids and keys can be text");
      }
      if (field.text() == v1::PEM && field.kind() != v1::Field::PUBLIC_KEY)
        Add(at.LineOf(field, "text"), "only a public key can be PEM");
    }
    for (const int kind : list.required) {
      if (count[kind] == 0) {
        Add(list.place.line(), list.of, " has no ", v1::Field::Kind_Name(static_cast<Kind>(kind)));
      }
    }
    if (list.fields.size() > kMaxFields || size > kMaxHeadSize / 2) {
      Add(list.place.line(), list.of, " has more than ", kMaxFields, " fields or ",
          kMaxHeadSize / 2, " bytes");
    }
  }

  void CheckWidth(const FieldList& list, const v1::Field& field, int index, const Place& at) {
    const int line = at.LineOf(field, "width");
    const std::string name = v1::Field::Kind_Name(field.kind());
    if (field.width() == 0) {
      if (!list.is_request_payload || index + 1 != list.fields.size() || IsInteger(field.kind())) {
        Add(line, name,
            " has no width; only a request's last field can be the rest of the payload");
      } else if (field.max_width() == 0 || field.max_width() > kMaxFieldWidth) {
        Add(line, name, " has no limit: give a width, or a max_width of 1 to ", kMaxFieldWidth);
      }
      return;
    }
    if (field.max_width() != 0)
      Add(at.LineOf(field, "max_width"), name, " has a width and a max_width");
    if (field.width() > kMaxFieldWidth)
      Add(line, name, " is wider than ", kMaxFieldWidth, " bytes");
    if (IsInteger(field.kind()) && !IsOneOf(static_cast<int>(field.width()), {1, 2, 4, 8}))
      Add(line, name, " is an integer: 1, 2, 4 or 8 bytes wide");
    if (IsOneOf(field.kind(), {v1::Field::CODE, v1::Field::VERSION}) && field.width() > 4)
      Add(line, name, " is wider than 4 bytes");
    const uint32_t id_width = TextWidth(field.text(), kIdSize);
    if (field.kind() == v1::Field::CLIENT_ID &&
        (field.width() < id_width || (field.text() == v1::BINARY && field.width() != id_width))) {
      Add(line, "CLIENT_ID has ", field.width(), " bytes, not ", id_width);
    }
    if (field.kind() == v1::Field::SESSION_KEY &&
        field.width() < TextWidth(field.text(), kEncryptedKeySize)) {
      Add(line, "SESSION_KEY has ", field.width(), " bytes, less than ",
          TextWidth(field.text(), kEncryptedKeySize));
    }
    if (field.kind() == v1::Field::CHECKSUM && field.width() < kChecksumSize)
      Add(line, "CHECKSUM has ", field.width(), " bytes, less than ", kChecksumSize);
  }

  void CheckFreedom(const FieldList& list, const v1::Field& field, int index, int line) {
    if (field.may_be_missing() && (!list.is_request_payload || index != 0 ||
                                   field.kind() != v1::Field::CLIENT_ID || !header_has_id_)) {
      Add(line, "only a CLIENT_ID in front of a payload, after one in the header, may be missing");
    }
    if (field.may_be_shorter() && (!list.is_request_payload || index != 0 || list.of == "FILE"))
      Add(line, "only the first field of a payload, but not of a FILE, may be shorter");
    const bool last_is_rest = list.fields[list.fields.size() - 1].width() == 0;
    if ((field.may_be_missing() || field.may_be_shorter()) && last_is_rest)
      Add(line, "the first field may vary or the last one, not both");
    if (field.name_end() != v1::Field::AT_NUL && !IsName(field.kind()))
      Add(line, "name_end is for names");
  }

  // What it is recognized by.

  void CheckRecognition(const v1::Dialect& dialect, const Place& place) {
    if (!dialect.has_recognition()) return;
    const v1::Recognition& recognition = dialect.recognition();
    const Place at = place.Of(dialect, "recognition");
    const bool has_version = HasField(dialect.request_header(), v1::Field::VERSION);
    for (const char* list : {"versions", "not_versions"}) {
      const auto& versions = absl::string_view(list) == "versions" ? recognition.versions()
                                                                   : recognition.not_versions();
      if (!versions.empty() && !has_version)
        Add(at.LineOf(recognition, list), list, ", but the request header has no VERSION");
    }
    if (recognition.versions_size() > 0 && recognition.not_versions_size() > 0)
      Add(at.LineOf(recognition, "not_versions"),
          "versions and not_versions: one of them is enough");
    for (int i = 0; i < recognition.ports_size(); ++i) {
      if (recognition.ports(i) == 0 || recognition.ports(i) > kMaxPort)
        Add(at.LineOf(recognition, "ports", i), "a port is 1 to ", kMaxPort);
    }
    if (recognition.ports_size() > 0 && recognition.same_requests_as_size() == 0) {
      Add(at.LineOf(recognition, "ports"),
          "ports decide only between this dialect and those in same_requests_as");
    }
  }

  static bool HasField(const google::protobuf::RepeatedPtrField<v1::Field>& fields, Kind kind) {
    return std::any_of(fields.begin(), fields.end(),
                       [&](const v1::Field& field) { return field.kind() == kind; });
  }

  // Requests.

  void CheckRequests(const v1::Dialect& dialect, const Place& place) {
    std::set<int> kinds;
    std::set<uint32_t> codes;
    for (int i = 0; i < dialect.requests_size(); ++i) {
      const v1::Request& request = dialect.requests(i);
      const Place at = place.Of(dialect, "requests", i);
      const std::string kind = v1::RequestKind_Name(request.kind());
      if (request.kind() == v1::REQUEST_KIND_UNSPECIFIED) {
        Add(at.line(), "a request without a kind");
        continue;
      }
      if (!kinds.insert(request.kind()).second) Add(at.line(), "two requests are ", kind);
      CheckCodes(dialect, request, at, codes);
      CheckPayload(dialect, request, at);
      if (request.kind() == v1::FILE) {
        CheckContent(dialect, request, at);
      } else if (request.has_content()) {
        Add(at.LineOf(request, "content"), kind, " cannot have content");
      }
    }
    CheckIds(dialect, place);
    for (const v1::RequestKind kind : {v1::REGISTER, v1::PUBLIC_KEY, v1::FILE, v1::VALID}) {
      if (!kinds.contains(kind)) Add(place.line(), "no request is ", v1::RequestKind_Name(kind));
    }
  }

  // That each request but a registration tells whose it is.
  void CheckIds(const v1::Dialect& dialect, const Place& place) {
    if (HasField(dialect.request_header(), v1::Field::CLIENT_ID) ||
        dialect.conversation().zero_id() == v1::Conversation::BY_NAME) {
      return;
    }
    for (int i = 0; i < dialect.requests_size(); ++i) {
      const v1::Request& request = dialect.requests(i);
      if (request.kind() != v1::REGISTER && !HasField(request.fields(), v1::Field::CLIENT_ID)) {
        Add(place.LineOf(dialect, "requests", i), v1::RequestKind_Name(request.kind()),
            " has no CLIENT_ID, nor has the header; only with zero_id: BY_NAME may it be missing");
      }
    }
  }

  void CheckCodes(const v1::Dialect& dialect, const v1::Request& request, const Place& at,
                  std::set<uint32_t>& codes) {
    if (request.codes_size() == 0)
      Add(at.line(), v1::RequestKind_Name(request.kind()), " has no code");
    for (int i = 0; i < request.codes_size(); ++i) {
      const int line = at.LineOf(request, "codes", i);
      if (!codes.insert(request.codes(i)).second)
        Add(line, "code ", request.codes(i), " means two things");
      for (const v1::Field& field : dialect.request_header()) {
        if (field.kind() == v1::Field::CODE && !FitsInto(request.codes(i), field.width()))
          Add(line, "code ", request.codes(i), " does not fit into ", field.width(), " bytes");
      }
    }
  }

  void CheckPayload(const v1::Dialect& dialect, const v1::Request& request, const Place& at) {
    using F = v1::Field;
    header_has_id_ = HasField(dialect.request_header(), F::CLIENT_ID);
    std::set<int> allowed = {F::CLIENT_ID, F::FILL, F::CONSTANT};
    std::set<int> required;
    switch (request.kind()) {
      case v1::REGISTER:
        required = {F::CLIENT_NAME};
        break;
      case v1::PUBLIC_KEY:
        required = {F::PUBLIC_KEY};
        allowed.insert(F::CLIENT_NAME);
        break;
      case v1::RECONNECT:
        allowed.insert(F::CLIENT_NAME);
        break;
      case v1::FILE:
        required = {F::FILE_NAME};
        if (request.content().has_packets()) {
          required.insert({F::PACKET_NUMBER, F::PACKET_TOTAL});
        }
        if (request.content().content_size_counts() != v1::FileContent::NOTHING)
          required.insert(F::CONTENT_SIZE);
        allowed.insert({F::CONTENT_SIZE, F::ORIGINAL_SIZE});
        break;
      default:
        required = {F::FILE_NAME};
    }
    allowed.insert(required.begin(), required.end());
    const std::string kind = v1::RequestKind_Name(request.kind());
    CheckFields({request, request.fields(), "fields", at, kind, allowed, required, true});
    CheckUncounted(request, at, dialect.request_header());
    if (request.payload_size_lies()) CheckLies(request, at);
    if (request.kind() == v1::FILE && !request.fields().empty() &&
        request.fields(request.fields_size() - 1).width() == 0) {
      Add(at.line(), "what is behind the fields of a FILE is its content: all fields need a width");
    }
  }

  void CheckLies(const v1::Request& request, const Place& at) {
    const int line = at.LineOf(request, "payload_size_lies");
    const bool varies =
        std::any_of(request.fields().begin(), request.fields().end(), [](const v1::Field& field) {
          return field.may_be_shorter() || field.width() == 0 || field.may_be_missing();
        });
    if (varies && request.kind() != v1::FILE)
      Add(line, "payload_size_lies, but the size decides which fields are there");
    if (request.kind() == v1::FILE &&
        request.content().length() != v1::FileContent::BY_CONTENT_SIZE)
      Add(line, "payload_size_lies, but the length of the content is not BY_CONTENT_SIZE");
    if (request.uncounted_bytes() != 0) Add(line, "payload_size_lies, and uncounted_bytes");
  }

  // That a payload of nothing but its fields has a size, and that it fits into the header.
  template <typename Entry>
  void CheckUncounted(const Entry& entry, const Place& at,
                      const google::protobuf::RepeatedPtrField<v1::Field>& header) {
    int64_t size = -int64_t{entry.uncounted_bytes()};
    for (const v1::Field& field : entry.fields()) size += field.width();
    const int line = at.LineOf(entry, "uncounted_bytes");
    if (entry.uncounted_bytes() > static_cast<int>(kMaxHeadSize) ||
        entry.uncounted_bytes() < -static_cast<int>(kMaxHeadSize)) {
      return Add(line, "uncounted_bytes is more than ", kMaxHeadSize);
    }
    if (size < 0) return Add(line, "the payload has less bytes than its size does not count");
    for (const v1::Field& field : header) {
      if (field.kind() == v1::Field::PAYLOAD_SIZE &&
          !FitsInto(static_cast<uint64_t>(size), field.width()))
        Add(line, "a payload size of ", size, " does not fit into ", field.width(), " bytes");
    }
  }

  // Content.

  void CheckContent(const v1::Dialect& dialect, const v1::Request& request, const Place& at) {
    using C = v1::FileContent;
    const C& content = request.content();
    const Place in = at.Of(request, "content");
    if (content.length() == C::LENGTH_UNSPECIFIED)
      Add(in.LineOf(content, "length"), "nothing tells how long a file's content is: length");
    if (content.content_size_counts() == C::COUNTS_UNSPECIFIED)
      Add(in.LineOf(content, "content_size_counts"), "what the content size counts is not said");
    const bool needs_payload_size =
        IsOneOf(content.content_size_counts(), {C::CIPHERTEXT_OR_PLAINTEXT, C::NOTHING});
    if (needs_payload_size && content.length() == C::BY_CONTENT_SIZE)
      Add(in.LineOf(content, "length"), "a content size that counts ",
          C::Counts_Name(content.content_size_counts()), " cannot tell the content's length");
    if (content.content_size_counts() == C::NOTHING && content.length() == C::BY_EITHER)
      Add(in.LineOf(content, "length"), "a content size that counts NOTHING needs BY_PAYLOAD_SIZE");
    constexpr int kMost = static_cast<int>(kMaxHeadSize);
    if (content.content_size_excess() > kMost || content.content_size_excess() < -kMost)
      Add(in.LineOf(content, "content_size_excess"), "more than ", kMaxHeadSize);
    if (content.text() == v1::PEM) Add(in.LineOf(content, "text"), "only a public key can be PEM");
    CheckSurplus(dialect, request, in);
    CheckLines(content, in);
    const bool in_parts = content.has_packets() || content.has_blocks();
    if (content.text() != v1::BINARY && in_parts)
      Add(in.LineOf(content, "text"), "content in packets or blocks cannot be text");
    if (content.has_packets() && content.has_blocks())
      Add(in.LineOf(content, "blocks"), "a file comes in packets or in blocks, not in both");
    if (content.has_packets()) CheckPackets(content, in);
    if (content.has_blocks()) CheckBlocks(content, in);
    CheckPieces(dialect, content, in);
  }

  // What is known of a file's size by reckoning, of all of it at once.
  void CheckSurplus(const v1::Dialect& dialect, const v1::Request& request, const Place& in) {
    const v1::FileContent& content = request.content();
    const bool in_parts = content.has_packets() || content.has_blocks();
    if (content.content_size_factor() > 1 && in_parts)
      Add(in.LineOf(content, "content_size_factor"), "content_size_factor, of packets or blocks");
    if (content.content_size_factor() > kMaxFactor)
      Add(in.LineOf(content, "content_size_factor"), "more than ", kMaxFactor);
    if (dialect.cryptography().padding() != v1::Cryptography::PKCS7_AND_SURPLUS) return;
    if (in_parts) Add(in.line(), "PKCS7_AND_SURPLUS, of packets or blocks");
    if (content.content_size_counts() != v1::FileContent::PLAINTEXT &&
        !HasField(request.fields(), v1::Field::ORIGINAL_SIZE)) {
      Add(in.line(), "PKCS7_AND_SURPLUS, but no size tells where the file ends");
    }
  }

  void CheckLines(const v1::FileContent& content, const Place& in) {
    const int line = in.LineOf(content, "text_line_width");
    const uint32_t width = content.text_line_width();
    if (width == 0) return;
    if (content.text() != v1::BASE64) Add(line, "text_line_width, but the content is no BASE64");
    if (width % 4 != 0 || width > kMaxLineWidth)
      Add(line, "a line has a multiple of 4 characters, at most ", kMaxLineWidth);
  }

  void CheckPackets(const v1::FileContent& content, const Place& in) {
    const v1::Packets& packets = content.packets();
    const Place at = in.Of(content, "packets");
    if (packets.last_is_shorter() &&
        (!packets.header_on_first_only() || packets.encryption() != v1::Packets::ONE_STREAM)) {
      Add(at.LineOf(packets, "last_is_shorter"),
          "last_is_shorter needs header_on_first_only and ONE_STREAM");
    }
    if (packets.header_on_first_only() && packets.surplus_is_ignored())
      Add(at.LineOf(packets, "surplus_is_ignored"),
          "a packet without a header cannot be told from the next request");
    if (content.length() == v1::FileContent::BY_CONTENT_SIZE &&
        packets.encryption() != v1::Packets::EACH_PACKET) {
      Add(at.line(), "the content size of all packets cannot tell the length of one");
    }
    if (content.content_size_counts() == v1::FileContent::NOTHING &&
        packets.encryption() != v1::Packets::EACH_PACKET) {
      Add(at.line(), "only the content size tells where the content of all packets ends");
    }
  }

  void CheckBlocks(const v1::FileContent& content, const Place& in) {
    const v1::Blocks& blocks = content.blocks();
    const Place at = in.Of(content, "blocks");
    if (blocks.size() == 0 || blocks.size() > kMaxBlockSize ||
        blocks.size() % kCipherBlockSize != 0) {
      Add(at.LineOf(blocks, "size"), "a block has a multiple of 16 bytes, at most ", kMaxBlockSize);
    }
    if (content.length() == v1::FileContent::BY_CONTENT_SIZE)
      Add(at.line(), "the first block's length needs the payload size");
    if (IsOneOf(content.content_size_counts(),
                {v1::FileContent::PLAINTEXT, v1::FileContent::NOTHING})) {
      Add(at.line(), "only a content size that counts all ciphertext tells where the blocks end");
    }
  }

  void CheckPieces(const v1::Dialect& dialect, const v1::FileContent& content, const Place& in) {
    const uint32_t size = content.encrypted_piece_size();
    if (size == 0) return;
    const int line = in.LineOf(content, "encrypted_piece_size");
    const v1::Cryptography& crypto = dialect.cryptography();
    const uint32_t overhead =
        (crypto.padding() == v1::Cryptography::ZEROS ? 0 : kCipherBlockSize) +
        (crypto.initial_vector() == v1::Cryptography::IN_FRONT ? kCipherBlockSize : 0);
    if (size % kCipherBlockSize != 0 || size > kMaxPieceSize || size <= overhead) {
      Add(line, "a piece has a multiple of 16 bytes, more than ", overhead, " and at most ",
          kMaxPieceSize);
    }
    if (content.has_packets() || content.has_blocks())
      Add(line, "packets and blocks are encrypted each on its own: no encrypted_piece_size");
  }

  // Answers.

  void CheckAnswers(const v1::Dialect& dialect, const Place& place) {
    std::set<int> always;  // Kinds that have one for every request.
    for (int i = 0; i < dialect.answers_size(); ++i) {
      const v1::Answer& answer = dialect.answers(i);
      const Place at = place.Of(dialect, "answers", i);
      const std::string kind = v1::AnswerKind_Name(answer.kind());
      if (answer.kind() == v1::ANSWER_KIND_UNSPECIFIED) {
        Add(at.line(), "an answer without a kind");
        continue;
      }
      if (always.contains(answer.kind()))
        Add(at.line(), "this ", kind, " is never sent: an earlier one always fits");
      const bool is_conditional =
          answer.to() != v1::REQUEST_KIND_UNSPECIFIED || answer.to_id_in_payload();
      if (!is_conditional) always.insert(answer.kind());
      CheckAnswer(dialect, answer, at);
    }
    CheckAnswersThereAre(dialect, place, always);
  }

  void CheckAnswersThereAre(const v1::Dialect& dialect, const Place& place,
                            const std::set<int>& always) {
    const bool reconnects =
        std::any_of(dialect.requests().begin(), dialect.requests().end(),
                    [](const v1::Request& request) { return request.kind() == v1::RECONNECT; });
    for (int kind = v1::REGISTERED; kind <= v1::GENERAL_ERROR; ++kind) {
      const bool is_of_reconnect = IsOneOf(kind, {v1::RECONNECTED, v1::RECONNECT_DENIED});
      const std::string name = v1::AnswerKind_Name(static_cast<v1::AnswerKind>(kind));
      if (!always.contains(kind) && (reconnects || !is_of_reconnect))
        Add(place.line(), "no answer is ", name, " to every request");
      if (always.contains(kind) && is_of_reconnect && !reconnects)
        Add(place.line(), name, ", but no request is RECONNECT");
    }
  }

  void CheckAnswer(const v1::Dialect& dialect, const v1::Answer& answer, const Place& at) {
    using F = v1::Field;
    const bool by_name = dialect.conversation().zero_id() == v1::Conversation::BY_NAME;
    std::set<int> allowed = {F::CLIENT_ID, F::FILL, F::CONSTANT};
    std::set<int> required;
    switch (answer.kind()) {
      case v1::REGISTERED:
        if (!by_name) required = {F::CLIENT_ID};
        break;
      case v1::KEY_ACCEPTED:
      case v1::RECONNECTED:
        required = {F::SESSION_KEY};
        break;
      case v1::FILE_RECEIVED:
        required = {F::CHECKSUM};
        allowed.insert({F::CONTENT_SIZE, F::FILE_NAME});
        break;
      default:
        break;
    }
    allowed.insert(required.begin(), required.end());
    CheckFields({answer, answer.fields(), "fields", at, v1::AnswerKind_Name(answer.kind()), allowed,
                 required});
    CheckUncounted(answer, at, dialect.answer_header());
    for (const F& field : dialect.answer_header()) {
      if (field.kind() == F::CODE && !FitsInto(answer.code(), field.width()))
        Add(at.LineOf(answer, "code"), "code ", answer.code(), " does not fit into ", field.width(),
            " bytes");
    }
  }

  // The rest.

  void CheckPadding(const v1::Dialect& dialect, const Place& place) {
    if (!dialect.has_padding()) return;
    using P = v1::MessagePadding;
    const P& padding = dialect.padding();
    const Place at = place.Of(dialect, "padding");
    if (padding.multiple_of() < 2 || padding.multiple_of() > kMaxMultipleOf)
      Add(at.LineOf(padding, "multiple_of"), "messages are filled up to a multiple of 2 to ",
          kMaxMultipleOf);
    if (padding.requests() == P::NEVER && padding.answers() == P::NEVER)
      Add(at.line(), "padding of neither requests nor answers");
    if (padding.answers() == P::BY_CLIENT && padding.requests() != P::BY_CLIENT)
      Add(at.LineOf(padding, "answers"), "answers can be padded BY_CLIENT only if requests are");
  }

  void CheckCryptography(const v1::Dialect& dialect, const Place& place) {
    const v1::Cryptography& crypto = dialect.cryptography();
    const Place at = place.Of(dialect, "cryptography");
    if (!IsOneOf(static_cast<int>(crypto.session_key_bits()), {128, 256}))
      Add(at.LineOf(crypto, "session_key_bits"), "a session key has 128 or 256 bits");
    if (crypto.plaintext_multiple_of() > kMaxMultipleOf)
      Add(at.LineOf(crypto, "plaintext_multiple_of"), "more than ", kMaxMultipleOf);
  }

  void CheckChecksums(const v1::Dialect& dialect, const Place& place) {
    for (int i = 0; i < dialect.checksums_size(); ++i) {
      if (dialect.checksums(i).checksum() == v1::ChecksumRule::CHECKSUM_UNSPECIFIED)
        Add(place.Of(dialect, "checksums", i).line(), "a rule without a checksum");
    }
  }

  void CheckConversation(const v1::Dialect& dialect, const Place& place) {
    if (!dialect.has_conversation()) return;
    using C = v1::Conversation;
    const C& conversation = dialect.conversation();
    const Place at = place.Of(dialect, "conversation");
    if (conversation.end_versions_size() > 0 && conversation.end_after_answer() == C::STAYS_OPEN)
      Add(at.LineOf(conversation, "end_versions"), "end_versions, but connections stay open");
    if (conversation.end_after_answer() == C::ENDS_IF_PADDED && !dialect.has_padding())
      Add(at.LineOf(conversation, "end_after_answer"), "ENDS_IF_PADDED, but there is no padding");
  }

  DialectErrors& errors_;
  bool header_has_id_ = true;
};

}  // namespace

int Place::LineOf(const Message& message, const char* field, int index) const {
  const auto* descriptor = message.GetDescriptor()->FindFieldByName(field);
  if (tree_ == nullptr || descriptor == nullptr) return line_;
  const google::protobuf::TextFormat::ParseLocation location =
      tree_->GetLocation(descriptor, descriptor->is_repeated() ? index : -1);
  return location.line < 0 ? line_ : location.line + 1;
}

Place Place::Of(const Message& message, const char* field, int index) const {
  const auto* descriptor = message.GetDescriptor()->FindFieldByName(field);
  const int line = LineOf(message, field, index);
  if (tree_ == nullptr || descriptor == nullptr) return Place(nullptr, line);
  return Place(tree_->GetTreeForNested(descriptor, descriptor->is_repeated() ? index : -1), line);
}

void DialectErrors::Add(int line, absl::string_view what) {
  lines_.push_back(absl::StrCat(file_name_, ":", line, ": ", what));
}

absl::Status DialectErrors::status() const {
  return lines_.empty() ? absl::OkStatus()
                        : absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
}

void CheckDialect(const v1::Dialect& dialect, const Place& place, DialectErrors& errors) {
  Checker(errors).Check(dialect, place);
}

}  // namespace backup::wire
