#include "bridge/wire/walk.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace backup::wire {
namespace {

constexpr uint64_t kCipherBlockSize = 16;
// Packets of a file that are shown one by one.
constexpr uint64_t kShownPackets = 2;

uint64_t RoundUp(uint64_t size, uint64_t multiple_of) {
  return multiple_of <= 1 ? size : (size + multiple_of - 1) / multiple_of * multiple_of;
}

// A file that comes in packets.
class PacketFile {
 public:
  // Why `first` cannot be the first packet of one; empty if it can.
  std::string Begin(const v1::Dialect& dialect, const v1::FileContent& content,
                    const Reading& first) {
    const v1::Packets& packets = content.packets();
    dialect_ = &dialect;
    content_ = &content;
    first_ = first;
    swapped_ =
        packets.numbers_may_be_swapped() && first.packet_number != 1 && first.packet_total == 1;
    if (NumberOf(first) != 1) {
      return absl::StrCat("a file begins with packet 1, not with ", first.packet_number, " of ",
                          first.packet_total);
    }
    total_ = TotalOf(first);
    says_plaintext_ = SaysPlaintext(first);
    left_ = CiphertextOf(first);
    is_stream_ = total_ == 1 || packets.encryption() == v1::Packets::ONE_STREAM ||
                 (packets.encryption() == v1::Packets::BY_SIZE && left_ > first.body_size);
    return Take(first);
  }

  bool IsSurplus(const Reading& packet) const { return NumberOf(packet) > total_; }

  // Why `packet` does not follow; empty if it does.
  std::string Follow(const Reading& packet) {
    if (packet.file_name != first_.file_name) return "a packet of another file comes in between";
    if (NumberOf(packet) != number_ + 1 || TotalOf(packet) != total_) {
      return absl::StrCat("packet ", NumberOf(packet), " of ", TotalOf(packet),
                          " comes after packet ", number_, " of ", total_);
    }
    if (is_stream_ && packet.content_size != first_.content_size)
      return "it tells another CONTENT_SIZE than the first packet";
    return Take(packet);
  }

  bool is_complete() const { return number_ == total_; }
  uint64_t number() const { return number_; }
  const Reading& first() const { return first_; }
  uint64_t left() const { return left_; }  // Of one stream.

  std::string Text() const {
    return absl::StrCat("packet ", number_, " of ", total_, swapped_ ? " (fields swapped)" : "",
                        ", ", is_stream_ ? "one stream: " : "encrypted on its own: ", received_,
                        is_stream_ ? absl::StrCat(" of ", received_ + left_) : "",
                        " bytes of ciphertext so far");
  }

 private:
  uint64_t NumberOf(const Reading& packet) const {
    return swapped_ ? packet.packet_total : packet.packet_number;
  }
  uint64_t TotalOf(const Reading& packet) const {
    return swapped_ ? packet.packet_number : packet.packet_total;
  }

  // What the content size says but for what it counts besides.
  uint64_t SizeIn(const Reading& packet) const {
    return packet.content_size - static_cast<uint64_t>(int64_t{content_->content_size_excess()});
  }

  // A ciphertext is whole blocks, larger than the original, and fills a packet that is not padded.
  bool SaysPlaintext(const Reading& first) const {
    const auto counts = content_->content_size_counts();
    if (counts != v1::FileContent::CIPHERTEXT_OR_PLAINTEXT)
      return counts == v1::FileContent::PLAINTEXT;
    const uint64_t size = SizeIn(first);
    return size % kCipherBlockSize != 0 || size == first.original_size ||
           CiphertextSize(*dialect_, size) == first.body_size;
  }

  uint64_t CiphertextOf(const Reading& packet) const {
    if (content_->content_size_counts() == v1::FileContent::NOTHING) return packet.body_size;
    return says_plaintext_ ? CiphertextSize(*dialect_, SizeIn(packet)) : SizeIn(packet);
  }

  std::string Take(const Reading& packet) {
    ++number_;
    if (is_stream_) {
      const uint64_t taken = std::min(left_, packet.body_size);
      left_ -= taken;
      received_ += taken;
      if (!is_complete() || left_ == 0) return "";
      return absl::StrCat("the packets hold ", left_, " bytes less than CONTENT_SIZE says");
    }
    const uint64_t size = CiphertextOf(packet);
    received_ += size;
    if (size > 0 && size <= packet.body_size) return "";
    return absl::StrCat("it has ", packet.body_size, " bytes of content, but CONTENT_SIZE says ",
                        packet.content_size);
  }

  const v1::Dialect* dialect_ = nullptr;
  const v1::FileContent* content_ = nullptr;
  Reading first_;
  bool swapped_ = false;
  bool is_stream_ = false;
  bool says_plaintext_ = false;
  uint64_t total_ = 0;
  uint64_t number_ = 0;  // Of the last one.
  uint64_t left_ = 0;    // Of a stream.
  uint64_t received_ = 0;
};

class RequestWalker {
 public:
  RequestWalker(const v1::Dialect& dialect, const Conversation& conversation, size_t at)
      : dialect_(dialect), conversation_(conversation), bytes_(conversation.client), at_(at) {
    for (const v1::Request& request : dialect.requests()) {
      if (request.kind() == v1::FILE) content_ = &request.content();
    }
  }

  Walk Run() {
    while (at_ < bytes_.bytes.size() && Next()) {
    }
    walk_.requests_end = at_;
    walk_.pads = pads_.value_or(false);
    return std::move(walk_);
  }

 private:
  bool is_in_file() const { return file_ && !file_->is_complete(); }

  // Reads the next message. False at the end of what fits.
  bool Next() {
    const bool is_bare = is_in_file() && content_->packets().header_on_first_only();
    Step step;
    step.at = at_;
    step.reading = is_bare ? ReadBarePacket(dialect_, bytes_, at_, file_->first())
                           : ReadRequest(dialect_, bytes_, at_);
    if (is_bare && content_->packets().last_is_shorter())
      step.reading.body_size = std::min(step.reading.body_size, file_->left());
    if (step.reading.fits()) {
      size_ = step.reading.head_size + step.reading.body_size;
      if (step.reading.kind == v1::FILE) {
        NoteContent(step);
        step.wrong = content_->has_packets() ? TakePacket(step) : "";
      } else if (is_in_file()) {
        step.wrong = absl::StrCat(v1::RequestKind_Name(step.reading.kind),
                                  " comes between the packets of a file");
      }
    }
    if (step.reading.state == Reading::State::kCut && ServerHasLastWord()) {
      step.reading.state = Reading::State::kStops;
      step.reading.why = absl::StrCat("the client waits for an answer ", step.reading.why);
    }
    const bool fits = step.fits();
    if (fits) {
      TakePadding(step);
      TakeBlocks(step);
      const bool is_packet = step.reading.kind == v1::FILE && content_->has_packets();
      if (!is_in_file() && !(is_packet && is_surplus_))
        walk_.wants_answer.push_back(is_packet ? first_packet_ : walk_.requests.size());
      at_ += size_;
      if (at_ > bytes_.bytes.size()) {
        const std::string where =
            absl::StrCat(at_ - bytes_.bytes.size(), " bytes before the end of this message");
        if (ServerHasLastWord())
          step.wrong = absl::StrCat("the client waits for an answer ", where);
        else
          step.notes.push_back(absl::StrCat("the capture ends ", where));
        at_ = bytes_.bytes.size();
      }
      step.size = at_ - step.at;
      if (step.is_usual_packet) step.reading.fields.clear();
    }
    walk_.requests_stop = step.stops();
    walk_.goes_on = !step.stops() && step.reading.state != Reading::State::kGap;
    walk_.requests.push_back(std::move(step));
    return fits && !walk_.requests_stop;
  }

  // Whether the end of the client's bytes is no accident: the server spoke after them.
  bool ServerHasLastWord() const {
    const std::vector<Conversation::Turn>& turns = conversation_.turns;
    const size_t before = turns.size() < 2 ? 0 : turns[turns.size() - 2].server_end;
    return !turns.empty() && turns.back().server_end > before;
  }

  void NoteContent(Step& step) const {
    const Reading& reading = step.reading;
    const uint64_t start = step.at + reading.head_size;
    const uint64_t captured = std::min<uint64_t>(
        reading.body_size, bytes_.bytes.size() - std::min<uint64_t>(start, bytes_.bytes.size()));
    std::string note = absl::StrCat(reading.body_size, " bytes of content at ", start);
    if (const uint64_t missing = bytes_.MissingIn(start, captured); missing > 0)
      absl::StrAppend(&note, ", of which ", missing, " were not captured");
    const bool is_whole = content_->has_packets() || content_->text() != v1::BINARY ||
                          reading.body_size % kCipherBlockSize == 0;
    if (!is_whole) absl::StrAppend(&note, ", no whole number of cipher blocks");
    step.notes.push_back(std::move(note));
  }

  // Why the packet does not fit here; empty if it does.
  std::string TakePacket(Step& step) {
    const v1::Packets& packets = content_->packets();
    is_surplus_ = file_ && packets.surplus_is_ignored() && file_->IsSurplus(step.reading) &&
                  step.reading.file_name == file_->first().file_name;
    if (is_surplus_) {
      step.notes.push_back("a packet too many, which is not answered");
      return "";
    }
    const bool begins = !is_in_file();
    if (begins) {
      file_.emplace();
      first_packet_ = walk_.requests.size();
    }
    std::string wrong =
        begins ? file_->Begin(dialect_, *content_, step.reading) : file_->Follow(step.reading);
    if (!wrong.empty()) return wrong;
    step.notes.push_back(file_->Text());
    step.is_usual_packet = file_->number() > kShownPackets && !file_->is_complete();
    if (file_->is_complete() && file_->number() > kShownPackets + 1) {
      step.notes.push_back(absl::StrCat("those from ", kShownPackets + 1, " to ",
                                        file_->number() - 1, " fit and are not shown"));
    }
    return "";
  }

  void TakePadding(Step& step) {
    const v1::MessagePadding& padding = dialect_.padding();
    const uint64_t padded = RoundUp(size_, padding.multiple_of());
    if (padding.requests() == v1::MessagePadding::NEVER || padded == size_) return;
    if (padding.requests() == v1::MessagePadding::ALWAYS) pads_ = true;
    if (!pads_) pads_ = SeemsPadded();
    if (!*pads_) return;
    step.notes.push_back(absl::StrCat("filled up to ", padded, " bytes"));
    size_ = padded;
  }

  // Whether the client fills its messages up, by the first one that shows it: it goes on behind it
  // before the server speaks, and that is no request.
  bool SeemsPadded() const {
    const uint64_t end = at_ + size_;
    if (end >= conversation_.client.bytes.size()) return false;
    const std::vector<Conversation::Turn>& turns = conversation_.turns;
    const auto turn = std::partition_point(
        turns.begin(), turns.end(),
        [end](const Conversation::Turn& earlier) { return earlier.client_end < end; });
    const bool is_answered = turn != turns.end() && turn->client_end == end;
    return !is_answered && ReadRequest(dialect_, bytes_, end).state == Reading::State::kNotItsOwn;
  }

  // The bare blocks that follow the first.
  void TakeBlocks(Step& step) {
    const Reading& reading = step.reading;
    if (reading.kind != v1::FILE || reading.blocks_size == 0) return;
    const uint64_t left = reading.blocks_size - reading.body_size;
    const v1::Blocks& blocks = content_->blocks();
    const uint64_t count = (left + blocks.size() - 1) / std::max(blocks.size(), 1u);
    const uint64_t on_wire = blocks.last_is_filled() ? count * blocks.size() : left;
    step.notes.push_back(absl::StrCat(
        "the first block of a file of ", reading.blocks_size, " bytes of ciphertext; ", count,
        " without a header follow at ", step.at + size_, ": ", left, " bytes",
        on_wire > left ? absl::StrCat(", the last filled up, ", on_wire, " in all") : ""));
    size_ += on_wire;
  }

  const v1::Dialect& dialect_;
  const Conversation& conversation_;
  const SpokenBytes& bytes_;
  const v1::FileContent* content_ = nullptr;
  size_t at_;
  uint64_t size_ = 0;  // Of the message at `at_`.
  std::optional<bool> pads_;
  std::optional<PacketFile> file_;
  size_t first_packet_ = 0;  // Of walk_.requests.
  bool is_surplus_ = false;  // The last packet.
  Walk walk_;
};

class AnswerWalker {
 public:
  AnswerWalker(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at, size_t end,
               Walk& walk)
      : dialect_(dialect), bytes_(bytes), at_(at), end_(end), walk_(walk) {}

  void Run() {
    while (at_ < end_ && Next()) {
    }
    walk_.answers_end = at_;
  }

 private:
  const Step* expected() const {
    return next_ < walk_.wants_answer.size() ? &walk_.requests[walk_.wants_answer[next_]] : nullptr;
  }

  bool Answers(v1::AnswerKind answer, v1::RequestKind request) const {
    const std::vector<v1::AnswerKind> right = AnswersTo(request);
    return answer == v1::GENERAL_ERROR ||
           std::find(right.begin(), right.end(), answer) != right.end();
  }

  Reading Read() {
    const Step* const request = expected();
    return ReadAnswer(dialect_, bytes_, at_, request == nullptr ? nullptr : &request->reading);
  }

  bool Next() {
    Step step;
    step.at = at_;
    step.reading = Read();
    // Not every retry notice is answered.
    while (step.reading.fits() && next_ + 1 < walk_.wants_answer.size() &&
           expected()->reading.kind == v1::RETRY && !Answers(step.reading.answer, v1::RETRY)) {
      ++next_;
      step.reading = Read();
    }
    const bool fits = step.reading.fits();
    if (fits) {
      CheckOrder(step);
      TakePadding(step);
    }
    walk_.answers_differ |= step.stops();
    walk_.answers.push_back(std::move(step));
    return fits;
  }

  void CheckOrder(Step& step) {
    const Step* const request = expected();
    if (request == nullptr) {
      // A capture may begin with the answer to what it does not have.
      const bool is_known = !walk_.wants_answer.empty() && !walk_.requests_stop;
      (is_known ? step.wrong : step.notes.emplace_back()) = "it answers no request that was read";
      return;
    }
    ++next_;
    step.notes.push_back(
        absl::StrCat("answers ", v1::RequestKind_Name(request->reading.kind), " at ", request->at));
    if (!Answers(step.reading.answer, request->reading.kind)) {
      step.wrong = absl::StrCat(v1::AnswerKind_Name(step.reading.answer), " is no answer to ",
                                v1::RequestKind_Name(request->reading.kind));
    }
  }

  void TakePadding(Step& step) {
    const v1::MessagePadding& padding = dialect_.padding();
    const bool is_padded = padding.answers() == v1::MessagePadding::ALWAYS ||
                           (padding.answers() == v1::MessagePadding::BY_CLIENT && walk_.pads);
    uint64_t size = step.reading.head_size;
    const uint64_t padded = is_padded ? RoundUp(size, padding.multiple_of()) : size;
    if (padded > size && at_ + size == end_) {
      step.notes.push_back(absl::StrCat("the bridge fills it up to ", padded, " bytes"));
    } else if (padded > size) {
      step.notes.push_back(absl::StrCat("filled up to ", padded, " bytes"));
      size = std::min<uint64_t>(padded, end_ - at_);
    }
    step.size = size;
    at_ += size;
  }

  const v1::Dialect& dialect_;
  const SpokenBytes& bytes_;
  size_t at_;
  const size_t end_;
  Walk& walk_;
  size_t next_ = 0;  // Of walk_.wants_answer.
};

}  // namespace

Walk WalkRequests(const v1::Dialect& dialect, const Conversation& conversation, size_t at) {
  return RequestWalker(dialect, conversation, at).Run();
}

void WalkAnswers(const v1::Dialect& dialect, const Conversation& conversation, size_t at,
                 size_t end, Walk& walk) {
  AnswerWalker(dialect, conversation.server, at, end, walk).Run();
}

}  // namespace backup::wire
