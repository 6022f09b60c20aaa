#include "bridge/wire/reading.h"

#include <algorithm>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/ids.h"
#include "base/name_text.h"
#include "base/printable.h"

namespace backup::wire {
namespace {

constexpr size_t kIdSize = ClientId::kSize;
constexpr uint64_t kCipherBlockSize = 16;
constexpr size_t kShownBytes = 8;
// The largest file that the bridge takes.
constexpr uint64_t kMaxContentSize = uint64_t{1} << 42;

std::string HexOf(absl::string_view bytes) {
  return absl::StrCat(absl::BytesToHexString(bytes.substr(0, kShownBytes)),
                      bytes.size() > kShownBytes ? ".." : "");
}

bool IsInteger(v1::Field::Kind kind) {
  switch (kind) {
    case v1::Field::VERSION:
    case v1::Field::CODE:
    case v1::Field::PAYLOAD_SIZE:
    case v1::Field::CONTENT_SIZE:
    case v1::Field::ORIGINAL_SIZE:
    case v1::Field::PACKET_NUMBER:
    case v1::Field::PACKET_TOTAL:
    case v1::Field::CHECKSUM:
    case v1::Field::CONSTANT:
      return true;
    default:
      return false;
  }
}

// Which numbers a list of them names: "1100 to 1106, 1200".
template <typename Numbers>
std::string ListOf(const Numbers& numbers) {
  std::vector<uint32_t> sorted(numbers.begin(), numbers.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<std::string> parts;
  for (size_t i = 0; i < sorted.size();) {
    size_t end = i + 1;
    while (end < sorted.size() && sorted[end] == sorted[end - 1] + 1) ++end;
    parts.push_back(end - i < 3 ? absl::StrCat(sorted[i])
                                : absl::StrCat(sorted[i], " to ", sorted[end - 1]));
    i = end - i < 3 ? i + 1 : end;
  }
  return absl::StrJoin(parts, ", ");
}

// The binary form of a field's text; nothing if it is none.
std::optional<std::string> Decoded(v1::TextEncoding text, absl::string_view bytes) {
  if (text == v1::BINARY) return std::string(bytes);
  bytes = bytes.substr(0, bytes.find('\0'));
  const size_t last = bytes.find_last_not_of(" \r\n\t");
  const absl::string_view written = bytes.substr(0, last == absl::string_view::npos ? 0 : last + 1);
  if (text == v1::HEX) return HexToBytes(written);
  std::string digits;
  for (const absl::string_view line : absl::StrSplit(written, '\n')) {
    if (text == v1::BASE64 || !absl::StartsWith(line, "-----"))
      absl::StrAppend(&digits, absl::StripSuffix(line, "\r"));
  }
  std::string decoded;
  const bool is_base64 = digits.size() % 4 == 0 && !absl::StrContains(digits, ' ') &&
                         absl::Base64Unescape(digits, &decoded);
  return is_base64 ? std::optional(decoded) : std::nullopt;
}

absl::string_view NameIn(absl::string_view field, v1::Field::NameEnd end) {
  switch (end) {
    case v1::Field::AT_LAST_VISIBLE: {
      const size_t last = field.find_last_not_of(absl::string_view(" \0\r\n", 4));
      return field.substr(0, last == absl::string_view::npos ? 0 : last + 1);
    }
    case v1::Field::AT_LINE_FEED: {
      const size_t feed = field.find_first_of(absl::string_view("\n\0", 2));
      const absl::string_view name = field.substr(0, feed);
      const bool has_return =
          feed != absl::string_view::npos && field[feed] == '\n' && absl::EndsWith(name, "\r");
      return has_return ? name.substr(0, name.size() - 1) : name;
    }
    default:
      return field.substr(0, field.find('\0'));
  }
}

uint32_t UpToZeroByte(uint32_t value) {
  uint32_t kept = 0;
  for (int shift = 0; shift < 32 && (value >> shift & 0xFF) != 0; shift += 8) {
    kept |= value & (uint32_t{0xFF} << shift);
  }
  return kept;
}

uint64_t NumberOf(v1::ByteOrder order, absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t from = order == v1::BIG ? i : bytes.size() - 1 - i;
    number = number << 8 | static_cast<uint8_t>(bytes[from]);
  }
  return number;
}

// Reads a message field by field into a Reading. What returns bool says whether to go on.
class MessageReader {
 protected:
  MessageReader(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at)
      : dialect_(dialect), bytes_(bytes), start_(at), at_(at) {}

  bool Stop(const std::string& why, Reading::State state = Reading::State::kStops) {
    reading_.state = state;
    reading_.why = why;
    return false;
  }

  // The field's bytes as `taken_`, and the number in them as `number_`.
  bool Take(const v1::Field& field, size_t width) {
    const std::string& kind = v1::Field::Kind_Name(field.kind());
    const size_t left = bytes_.bytes.size() - at_;
    if (left < width) {
      return Stop(absl::StrCat(width - left, " bytes before the end of ", kind),
                  Reading::State::kCut);
    }
    if (const uint64_t missing = bytes_.MissingIn(at_, width); missing > 0) {
      return Stop(
          absl::StrCat(missing, " bytes of ", kind, " at ", taken_size(), " were not captured"),
          Reading::State::kGap);
    }
    taken_ = absl::string_view(bytes_.bytes).substr(at_, width);
    reading_.fields.push_back({taken_size(), width, kind, HexOf(taken_), "", ""});
    at_ += width;
    if (IsInteger(field.kind())) {
      number_ = NumberIn(field, taken_);
      last().value = field.kind() == v1::Field::CHECKSUM ? absl::StrFormat("0x%08x", number_)
                                                         : absl::StrCat(number_);
    }
    return true;
  }

  // What the last field says, and where: for reasons.
  std::string Said() const {
    const FieldReading& field = reading_.fields.back();
    return absl::StrCat(field.kind, " ", number_, " at ", field.at);
  }

  // Takes an id and tells it; `id_` is what it is: zeros if it is none.
  bool TakeId(const v1::Field& field) {
    if (!Take(field, field.width())) return false;
    const std::optional<std::string> id = Decoded(field.text(), taken_);
    is_id_ = id && id->size() == kIdSize;
    id_ = is_id_ ? *id : std::string(kIdSize, '\0');
    last().value = id_ == std::string(kIdSize, '\0') ? "zeros" : ToUuidText(id_);
    if (!is_id_) last().value = absl::StrCat("no id in ", v1::TextEncoding_Name(field.text()));
    return true;
  }

  void ShowName(const v1::Field& field) {
    last().value =
        absl::StrCat("\"", Printable(NameToText(NameIn(taken_, field.name_end()))), "\"");
  }
  // Of keys nobody sees more than this.
  void ShowSize() {
    last().hex.clear();
    last().value = absl::StrCat(taken_.size(), " bytes, not shown");
  }

  FieldReading& last() { return reading_.fields.back(); }
  size_t taken_size() const { return at_ - start_; }

  const v1::Dialect& dialect_;
  const SpokenBytes& bytes_;
  const size_t start_;
  size_t at_;
  Reading reading_;
  absl::string_view taken_;
  uint64_t number_ = 0;
  std::string id_;
  bool is_id_ = false;
  uint64_t payload_size_ = 0;  // As it says.

 private:
  uint64_t NumberIn(const v1::Field& field, absl::string_view bytes) const {
    return NumberOf(field.byte_order() != v1::BYTE_ORDER_UNSPECIFIED ? field.byte_order()
                                                                     : dialect_.byte_order(),
                    bytes);
  }
};

class RequestReader : private MessageReader {
 public:
  RequestReader(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at)
      : MessageReader(dialect, bytes, at) {}

  Reading Read() {
    if (ReadHeader()) ReadPayload();
    reading_.head_size = taken_size();
    return std::move(reading_);
  }

  Reading ReadBare(const Reading& first) {
    for (const v1::Request& request : dialect_.requests()) {
      if (request.kind() == v1::FILE) request_ = &request;
    }
    reading_.kind = v1::FILE;
    reading_.version = first.version;
    if (TakePayloadFields()) reading_.body_size = first.body_size;
    reading_.head_size = taken_size();
    return std::move(reading_);
  }

 private:
  bool ReadHeader() {
    for (const v1::Field& field : dialect_.request_header()) {
      if (!ReadHeaderField(field)) return false;
    }
    return request_ != nullptr || Stop("its header has no CODE", Reading::State::kNotItsOwn);
  }

  bool ReadHeaderField(const v1::Field& field) {
    switch (field.kind()) {
      case v1::Field::CLIENT_ID:
        if (!TakeId(field)) return false;
        header_id_ = id_;
        return true;
      case v1::Field::VERSION:
        return Take(field, field.width()) && CheckVersion();
      case v1::Field::CODE:
        return Take(field, field.width()) && FindRequest();
      case v1::Field::PAYLOAD_SIZE:
        if (!Take(field, field.width())) return false;
        payload_size_ = number_;
        return true;
      case v1::Field::CONSTANT:
        if (!Take(field, field.width())) return false;
        return number_ == field.value() ||
               Stop(absl::StrCat(Said(), ", expected ", field.value()), Reading::State::kNotItsOwn);
      default:
        return Take(field, field.width());
    }
  }

  bool CheckVersion() {
    reading_.version = static_cast<uint32_t>(number_);
    const auto& own = dialect_.recognition().versions();
    const auto& others = dialect_.recognition().not_versions();
    if (!own.empty() && std::find(own.begin(), own.end(), number_) == own.end()) {
      return Stop(absl::StrCat(Said(), " is none of ", ListOf(own)), Reading::State::kNotItsOwn);
    }
    return std::find(others.begin(), others.end(), number_) == others.end() ||
           Stop(absl::StrCat(Said(), " is among its not_versions"), Reading::State::kNotItsOwn);
  }

  bool FindRequest() {
    std::vector<uint32_t> codes;
    for (const v1::Request& request : dialect_.requests()) {
      codes.insert(codes.end(), request.codes().begin(), request.codes().end());
      if (request_ == nullptr && std::find(request.codes().begin(), request.codes().end(),
                                           number_) != request.codes().end()) {
        request_ = &request;
      }
    }
    if (request_ == nullptr) {
      return Stop(absl::StrCat(Said(), " is none of ", ListOf(codes), ElsewhereText(codes)),
                  Reading::State::kNotItsOwn);
    }
    reading_.kind = request_->kind();
    absl::StrAppend(&last().value, " = ", v1::RequestKind_Name(request_->kind()));
    return true;
  }

  // Where one of `codes` stands instead, as a hint for whoever describes such a client; or nothing.
  std::string ElsewhereText(const std::vector<uint32_t>& codes) const {
    constexpr size_t kSearched = 40;  // Headers are not longer.
    const size_t width = taken_.size();
    if (width < 2) return "";  // Any byte would do.
    const absl::string_view message = absl::string_view(bytes_.bytes).substr(start_, kSearched);
    for (size_t at = 0; at + width <= message.size(); ++at) {
      for (const v1::ByteOrder order : {v1::LITTLE, v1::BIG}) {
        const uint64_t number = NumberOf(order, message.substr(at, width));
        if (std::find(codes.begin(), codes.end(), number) == codes.end()) continue;
        return absl::StrCat("; ", number, " stands at ", at, ", ", v1::ByteOrder_Name(order));
      }
    }
    return "";
  }

  bool ReadPayload() {
    const bool is_file = request_->kind() == v1::FILE;
    fields_size_ = 0;
    for (const v1::Field& field : request_->fields()) fields_size_ += field.width();
    payload_ = request_->payload_size_lies()
                   ? fields_size_
                   : static_cast<int64_t>(std::min(payload_size_, 2 * kMaxContentSize)) +
                         request_->uncounted_bytes();
    if (payload_ < 0) return WrongSize(absl::StrCat("at least ", -request_->uncounted_bytes()));
    if (!(is_file ? FindId() : CheckPayloadSize())) return false;
    if (!TakePayloadFields()) return false;
    return !is_file || FindContent();
  }

  bool MayBeMissing() const {
    return request_->fields_size() > 0 && request_->fields(0).may_be_missing();
  }

  // Whether a file begins with an id that may be missing: its first bytes say so.
  bool FindId() {
    if (!MayBeMissing()) return true;
    const v1::Field& field = request_->fields(0);
    const absl::string_view beginning = absl::string_view(bytes_.bytes).substr(at_, field.width());
    const std::optional<std::string> id = Decoded(field.text(), beginning);
    is_missing_ = id != header_id_;
    if (is_missing_ && beginning.size() < field.width() &&
        absl::StartsWith(header_id_, beginning)) {
      return Stop("before the payload shows whether it begins with an id", Reading::State::kCut);
    }
    if (is_missing_) fields_size_ -= field.width();
    return true;
  }

  bool WrongSize(const std::string& expected) {
    const int uncounted = request_->uncounted_bytes();
    return Stop(absl::StrCat(
        "PAYLOAD_SIZE ", payload_size_, ", expected ", expected,
        uncounted == 0  ? ""
        : uncounted > 0 ? absl::StrCat(" (", uncounted, " bytes of the payload are not counted)")
                        : absl::StrCat(" (with ", -uncounted, " bytes that are not of it)")));
  }

  // Of what is no file.
  bool CheckPayloadSize() {
    const int64_t full = fields_size_;
    const int64_t uncounted = request_->uncounted_bytes();
    if (MayBeMissing()) {
      const int64_t without = full - request_->fields(0).width();
      is_missing_ = payload_ == without;
      return payload_ == full || is_missing_ ||
             WrongSize(absl::StrCat(without - uncounted, ", or ", full - uncounted, " with an id"));
    }
    const int fields = request_->fields_size();
    if (fields > 0 && request_->fields(0).may_be_shorter()) {
      const int64_t least = full - request_->fields(0).width();
      first_width_ = payload_ - least;
      return (payload_ >= least && payload_ <= full) ||
             WrongSize(absl::StrCat(least - uncounted, " to ", full - uncounted));
    }
    if (fields > 0 && request_->fields(fields - 1).width() == 0) {
      const int64_t most = full + request_->fields(fields - 1).max_width();
      last_width_ = payload_ - full;
      return (payload_ >= full && payload_ <= most) ||
             WrongSize(absl::StrCat(full - uncounted, " to ", most - uncounted));
    }
    return payload_ == full || WrongSize(absl::StrCat(full - uncounted));
  }

  bool TakePayloadFields() {
    for (int i = 0; i < request_->fields_size(); ++i) {
      if (i == 0 && is_missing_) continue;
      const v1::Field& field = request_->fields(i);
      const size_t width = i == 0 && first_width_ ? *first_width_
                           : field.width() == 0   ? last_width_
                                                  : field.width();
      if (!TakePayloadField(field, width)) return false;
    }
    return true;
  }

  bool TakePayloadField(const v1::Field& field, size_t width) {
    if (field.kind() == v1::Field::CLIENT_ID) {
      if (!TakeId(field)) return false;
      reading_.id_in_payload = true;
      return (is_id_ && (header_id_.empty() || id_ == header_id_)) ||
             Stop("CLIENT_ID is not that of the header");
    }
    if (!Take(field, width)) return false;
    switch (field.kind()) {
      case v1::Field::CLIENT_NAME:
        ShowName(field);
        return true;
      case v1::Field::FILE_NAME:
        ShowName(field);
        reading_.file_name = std::string(taken_);
        return true;
      case v1::Field::PUBLIC_KEY: {
        const bool is_right = Decoded(field.text(), taken_).has_value();
        ShowSize();
        return is_right ||
               Stop(absl::StrCat("PUBLIC_KEY is no ", v1::TextEncoding_Name(field.text())));
      }
      case v1::Field::CONTENT_SIZE:
        reading_.content_size = number_;
        return true;
      case v1::Field::ORIGINAL_SIZE:
        reading_.original_size = number_;
        return true;
      case v1::Field::PACKET_NUMBER:
        reading_.packet_number =
            number_ + (request_->content().packets().counted_from_zero() ? 1 : 0);
        return reading_.packet_number > 0 ||
               Stop(absl::StrCat(Said(), ", but packets are counted from 1"));
      case v1::Field::PACKET_TOTAL:
        reading_.packet_total = number_;
        return number_ > 0 || Stop(absl::StrCat(Said(), ", but packets are counted from 1"));
      case v1::Field::CONSTANT:
        return number_ == field.value() || Stop(absl::StrCat(Said(), ", expected ", field.value()));
      default:
        return true;
    }
  }

  // What the content size counts.
  bool FindSaid(const v1::FileContent& content) {
    if (reading_.content_size > kMaxContentSize)
      return Stop(absl::StrCat("it says that it has more than ", kMaxContentSize, " bytes"));
    const int64_t besides = content.content_size_excess();
    const int64_t said = static_cast<int64_t>(reading_.content_size) - besides;
    const int64_t factor = std::max<int64_t>(content.content_size_factor(), 1);
    if (said < 0) {
      return Stop(absl::StrCat("CONTENT_SIZE ", reading_.content_size, " counts ", besides,
                               " bytes besides"));
    }
    if (said % factor != 0) {
      return Stop(
          absl::StrCat("CONTENT_SIZE ", reading_.content_size, " is no multiple of ", factor));
    }
    said_ = static_cast<uint64_t>(said / factor);
    return true;
  }

  // How much content follows the fields.
  bool FindContent() {
    const v1::FileContent& content = request_->content();
    const int64_t counted = payload_ - fields_size_;
    if (std::max<int64_t>(payload_, 0) > static_cast<int64_t>(kMaxContentSize))
      return Stop(absl::StrCat("it says that it has more than ", kMaxContentSize, " bytes"));
    if (content.content_size_counts() == v1::FileContent::NOTHING) {
      said_ = reading_.content_size;
    } else if (!FindSaid(content)) {
      return false;
    }
    const bool is_by_content = content.length() == v1::FileContent::BY_CONTENT_SIZE;
    // Of an empty file, where padding adds nothing.
    const bool is_empty = is_by_content ? said_ == 0 : counted == 0;
    if (is_empty && CiphertextSize(dialect_, 0) == 0 && AgreesWith(0)) return true;
    if (is_by_content || (content.length() == v1::FileContent::BY_EITHER && counted <= 0)) {
      reading_.body_size = said_ == 0 ? 0 : SizeThatIsSaid();
      return reading_.body_size > 0 ||
             Stop(absl::StrCat("CONTENT_SIZE ", reading_.content_size,
                               ", and nothing else tells how much content there is"));
    }
    if (counted <= 0) {
      const int64_t fields = fields_size_ - request_->uncounted_bytes();
      return WrongSize(absl::StrCat("more than ", fields, ", the fields"));
    }
    reading_.body_size = static_cast<uint64_t>(counted);
    return content.has_packets() || CheckContentSize();
  }

  // The content's bytes on the wire, by the content size.
  uint64_t SizeThatIsSaid() const {
    const v1::FileContent& content = request_->content();
    switch (content.content_size_counts()) {
      case v1::FileContent::PLAINTEXT:
        return WrittenSize(content, CiphertextSize(dialect_, said_));
      case v1::FileContent::WIRE:
        return said_;
      default:
        return WrittenSize(content, said_);
    }
  }

  // The bytes that are written in so many; nothing if none are. Text of Base64 has the same length
  // for some sizes next to each other, of which one is whole cipher blocks.
  std::optional<uint64_t> CiphertextSizeIn(uint64_t body_size) const {
    const v1::FileContent& content = request_->content();
    uint64_t least = 0;
    uint64_t most = body_size;
    while (least < most) {
      const uint64_t middle = (least + most) / 2;
      if (WrittenSize(content, middle) < body_size)
        least = middle + 1;
      else
        most = middle;
    }
    if (content.text() == v1::BASE64)
      least = (least + kCipherBlockSize - 1) / kCipherBlockSize * kCipherBlockSize;
    return WrittenSize(content, least) == body_size ? std::optional(least) : std::nullopt;
  }

  bool AgreesWith(uint64_t body_size) const {
    const std::optional<uint64_t> size = CiphertextSizeIn(body_size);
    switch (request_->content().content_size_counts()) {
      case v1::FileContent::NOTHING:
        return true;
      case v1::FileContent::WIRE:
        return said_ == body_size;
      case v1::FileContent::PLAINTEXT: {
        const bool has_surplus =
            dialect_.cryptography().padding() == v1::Cryptography::PKCS7_AND_SURPLUS;
        return CiphertextSize(dialect_, said_) <= size &&
               size <= CiphertextSize(dialect_, said_ + (has_surplus ? kCipherBlockSize - 1 : 0));
      }
      case v1::FileContent::CIPHERTEXT:
        return said_ == size;
      default:
        return size && IsEither(*size);
    }
  }

  // Whether the content size agrees with what the payload size counts.
  bool CheckContentSize() {
    const v1::FileContent& content = request_->content();
    const uint64_t size = reading_.body_size;
    if (AgreesWith(size)) return true;
    if (content.has_blocks() && !reading_.id_in_payload && said_ > size &&
        size % kCipherBlockSize == 0 && said_ % kCipherBlockSize == 0) {
      reading_.blocks_size = said_;
      return true;
    }
    const bool is_either =
        content.content_size_counts() == v1::FileContent::CIPHERTEXT_OR_PLAINTEXT;
    return Stop(absl::StrCat(
        "CONTENT_SIZE ", reading_.content_size, " does not agree with PAYLOAD_SIZE ", payload_size_,
        ", which leaves ", size, " bytes of content",
        is_either
            ? ""
            : absl::StrCat("; as ", v1::FileContent::Counts_Name(content.content_size_counts()),
                           " it means ", SizeThatIsSaid())));
  }

  // Whether the content size is `size`, or a plaintext's that encryption makes so long, perhaps cut
  // at its first zero byte.
  bool IsEither(uint64_t size) const {
    if (request_->content().encrypted_piece_size() != 0)
      return said_ == size || CiphertextSize(dialect_, said_) == size;
    const bool has_vector = dialect_.cryptography().initial_vector() == v1::Cryptography::IN_FRONT;
    const uint64_t most = has_vector ? 2 * kCipherBlockSize : kCipherBlockSize;
    for (uint64_t meant = size - std::min(size, most); meant <= size; ++meant) {
      const auto value = static_cast<uint32_t>(meant);
      if (said_ == meant || said_ == value || said_ == UpToZeroByte(value)) return true;
    }
    return false;
  }

  const v1::Request* request_ = nullptr;
  std::string header_id_;
  int64_t payload_ = 0;      // Bytes of payload, by its size.
  int64_t fields_size_ = 0;  // Of those that are there.
  bool is_missing_ = false;  // The first field.
  std::optional<size_t> first_width_;
  size_t last_width_ = 0;
  uint64_t said_ = 0;
};

class AnswerReader : private MessageReader {
 public:
  AnswerReader(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at,
               const Reading* request)
      : MessageReader(dialect, bytes, at), request_(request) {}

  Reading Read() {
    if (ReadHeader()) ReadPayload();
    reading_.head_size = taken_size();
    return std::move(reading_);
  }

 private:
  bool ReadHeader() {
    for (const v1::Field& field : dialect_.answer_header()) {
      if (field.kind() == v1::Field::CLIENT_ID) {
        if (!TakeId(field)) return false;
        continue;
      }
      if (!Take(field, field.width())) return false;
      if (field.kind() == v1::Field::CODE && !FindAnswer()) return false;
      if (field.kind() == v1::Field::PAYLOAD_SIZE) {
        payload_size_ = number_;
        payload_size_field_ = reading_.fields.size() - 1;
      }
      const bool is_given =
          field.kind() == v1::Field::VERSION || field.kind() == v1::Field::CONSTANT;
      if (is_given && number_ != field.value())
        last().remark = absl::StrCat("the bridge says ", field.value());
    }
    return answer_ != nullptr || Stop("its header has no CODE");
  }

  bool FindAnswer() {
    std::vector<uint32_t> codes;
    for (const v1::Answer& answer : dialect_.answers()) {
      codes.push_back(answer.code());
      if (answer.code() == number_ && answer_ == nullptr && IsFor(answer)) answer_ = &answer;
    }
    for (const v1::Answer& answer : dialect_.answers()) {
      if (answer.code() == number_ && answer_ == nullptr) answer_ = &answer;
    }
    if (answer_ == nullptr) return Stop(absl::StrCat(Said(), " is none of ", ListOf(codes)));
    reading_.answer = answer_->kind();
    absl::StrAppend(&last().value, " = ", v1::AnswerKind_Name(answer_->kind()));
    return true;
  }

  bool IsFor(const v1::Answer& answer) const {
    if (answer.to() == v1::REQUEST_KIND_UNSPECIFIED) {
      return !answer.to_id_in_payload() || (request_ != nullptr && request_->id_in_payload);
    }
    return request_ != nullptr && request_->kind == answer.to() &&
           (!answer.to_id_in_payload() || request_->id_in_payload);
  }

  void ReadPayload() {
    int64_t full = 0;
    for (const v1::Field& field : answer_->fields()) full += field.width();
    int64_t left = static_cast<int64_t>(payload_size_) + answer_->uncounted_bytes();
    if (left != full) {
      reading_.fields[payload_size_field_].remark =
          absl::StrCat("the bridge answers ", full - answer_->uncounted_bytes());
      left = static_cast<int64_t>(payload_size_);
    }
    for (const v1::Field& field : answer_->fields()) {
      if (field.width() > left) break;
      if (!TakePayloadField(field)) return;
      left -= field.width();
    }
    v1::Field rest;
    rest.set_kind(v1::Field::FILL);
    if (left > 0 && Take(rest, static_cast<size_t>(left))) last().remark = "not read";
  }

  bool TakePayloadField(const v1::Field& field) {
    if (field.kind() == v1::Field::CLIENT_ID) return TakeId(field);
    if (!Take(field, field.width())) return false;
    switch (field.kind()) {
      case v1::Field::CLIENT_NAME:
      case v1::Field::FILE_NAME: {
        const bool is_file = field.kind() == v1::Field::FILE_NAME;
        ShowName(field);
        if (is_file && request_ != nullptr && !request_->file_name.empty() &&
            request_->file_name.substr(0, taken_.size()) != taken_) {
          last().remark = "the bridge repeats the request's field byte for byte";
        }
        return true;
      }
      case v1::Field::SESSION_KEY:
      case v1::Field::PUBLIC_KEY:
        ShowSize();
        return true;
      case v1::Field::CONTENT_SIZE:
        if (request_ != nullptr && request_->kind == v1::FILE &&
            request_->content_size != number_) {
          last().remark = absl::StrCat("the bridge repeats the request's ", request_->content_size);
        }
        return true;
      default:
        return true;
    }
  }

  const Reading* const request_;
  const v1::Answer* answer_ = nullptr;
  size_t payload_size_field_ = 0;
};

const v1::FileContent* ContentOf(const v1::Dialect& dialect) {
  for (const v1::Request& request : dialect.requests()) {
    if (request.kind() == v1::FILE) return &request.content();
  }
  return nullptr;
}

}  // namespace

Reading ReadRequest(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at) {
  return RequestReader(dialect, bytes, at).Read();
}

Reading ReadBarePacket(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at,
                       const Reading& first) {
  return RequestReader(dialect, bytes, at).ReadBare(first);
}

Reading ReadAnswer(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at,
                   const Reading* request) {
  return AnswerReader(dialect, bytes, at, request).Read();
}

std::vector<v1::AnswerKind> AnswersTo(v1::RequestKind kind) {
  switch (kind) {
    case v1::REGISTER:
      return {v1::REGISTERED, v1::REGISTRATION_FAILED};
    case v1::PUBLIC_KEY:
      return {v1::KEY_ACCEPTED};
    case v1::RECONNECT:
      return {v1::RECONNECTED, v1::RECONNECT_DENIED};
    case v1::FILE:
      return {v1::FILE_RECEIVED};
    default:
      return {v1::ACKNOWLEDGED};
  }
}

uint64_t CiphertextSize(const v1::Dialect& dialect, uint64_t plaintext_size) {
  const v1::Cryptography& cryptography = dialect.cryptography();
  const bool pads_always = cryptography.padding() != v1::Cryptography::ZEROS;
  const uint64_t in_front =
      cryptography.initial_vector() == v1::Cryptography::IN_FRONT ? kCipherBlockSize : 0;
  const auto encrypted = [&](uint64_t size) {
    const uint64_t filled = (size + kCipherBlockSize - 1) / kCipherBlockSize * kCipherBlockSize;
    return in_front + (pads_always && filled == size ? filled + kCipherBlockSize : filled);
  };
  const v1::FileContent* const content = ContentOf(dialect);
  const uint64_t piece = content == nullptr ? 0 : content->encrypted_piece_size();
  const uint64_t least = in_front + (pads_always ? kCipherBlockSize : 0);
  if (piece <= least) return encrypted(plaintext_size);
  const uint64_t plain = piece - least;  // What fills a piece.
  const uint64_t rest = plaintext_size % plain;
  return plaintext_size / plain * piece + (rest > 0 || plaintext_size == 0 ? encrypted(rest) : 0);
}

uint64_t WrittenSize(const v1::FileContent& content, uint64_t ciphertext_size) {
  if (content.text() == v1::BINARY) return ciphertext_size;
  const uint64_t characters =
      content.text() == v1::HEX ? ciphertext_size * 2 : (ciphertext_size + 2) / 3 * 4;
  if (content.text_line_width() == 0 || characters == 0) return characters;
  const uint64_t lines = (characters + content.text_line_width() - 1) / content.text_line_width();
  const uint64_t breaks = lines - (content.text_ends_without_line_break() ? 1 : 0);
  const bool has_return =
      content.text_line_break() == v1::FileContent::CARRIAGE_RETURN_AND_LINE_FEED;
  return characters + breaks * (has_return ? 2 : 1);
}

}  // namespace backup::wire
