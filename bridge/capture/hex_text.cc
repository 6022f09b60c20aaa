#include "bridge/capture/hex_text.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/printable.h"
#include "base/status_macros.h"

namespace backup::capture {
namespace {

constexpr size_t kOffsetDigits = 8;
// What all "*" of a text may stand for together.
constexpr size_t kMaxRepeated = size_t{16} << 20;

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); });
}

// The bytes that the digits of `text` spell; blanks may be anywhere.
std::optional<std::string> BytesOf(absl::string_view text) {
  std::string digits(text);
  digits.erase(
      std::remove_if(digits.begin(), digits.end(),
                     [](char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }),
      digits.end());
  return HexToBytes(digits);
}

// A line of xxd or hexdump -C.
struct DumpLine {
  size_t offset = 0;
  absl::string_view digits;
};
std::optional<DumpLine> ParseDumpLine(absl::string_view line) {
  if (line.size() < kOffsetDigits || !IsHex(line.substr(0, kOffsetDigits))) return std::nullopt;
  DumpLine parsed;
  uint64_t offset = 0;
  if (!absl::SimpleHexAtoi(line.substr(0, kOffsetDigits), &offset)) return std::nullopt;
  parsed.offset = offset;
  absl::string_view rest = line.substr(kOffsetDigits);
  if (absl::ConsumePrefix(&rest, ":")) {
    rest = absl::StripLeadingAsciiWhitespace(rest);
    parsed.digits = rest.substr(0, rest.find("  "));  // Behind that are the characters.
    return parsed;
  }
  if (!rest.empty() && !absl::StartsWith(rest, "  ")) return std::nullopt;
  parsed.digits = rest.substr(0, rest.find('|'));
  return parsed;
}

enum class Form { kTranscript, kDump, kPlain };

bool IsTranscriptLine(absl::string_view line) {
  return absl::StartsWith(line, "C>") || absl::StartsWith(line, "S>");
}

class HexReader {
 public:
  absl::StatusOr<std::vector<wire::Conversation>> Read(absl::string_view text) {
    const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
    form_ = FormOf(lines);
    for (const absl::string_view raw : lines) {
      ++number_;
      RETURN_IF_ERROR(ReadLine(absl::StripAsciiWhitespace(raw)));
    }
    EndConversation();
    return std::move(conversations_);
  }

 private:
  static Form FormOf(const std::vector<absl::string_view>& lines) {
    for (const absl::string_view raw : lines) {
      const absl::string_view line = absl::StripAsciiWhitespace(raw);
      if (line.empty() || line[0] == '#') continue;
      if (IsTranscriptLine(line)) return Form::kTranscript;
      const std::optional<DumpLine> dump = ParseDumpLine(line);
      return dump && !dump->digits.empty() ? Form::kDump : Form::kPlain;
    }
    return Form::kPlain;
  }

  absl::Status Wrong(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("line ", number_, ": ", what));
  }

  void EndConversation() {
    if (!conversation_.turns.empty()) conversations_.push_back(std::move(conversation_));
    conversation_ = {};
    repeats_ = false;
    last_.clear();
  }

  absl::Status ReadLine(absl::string_view line) {
    if (absl::ConsumePrefix(&line, "##")) {
      EndConversation();
      conversation_.name = Printable(absl::StripAsciiWhitespace(line));
      return absl::OkStatus();
    }
    if (line.empty() || line[0] == '#') return absl::OkStatus();
    switch (form_) {
      case Form::kTranscript: {
        if (!IsTranscriptLine(line)) return Wrong("it begins with none of C>, S> and #");
        const wire::Side side = line[0] == 'C' ? wire::Side::kClient : wire::Side::kServer;
        return Say(side, line.substr(2));
      }
      case Form::kDump:
        return ReadDumpLine(line);
      case Form::kPlain:
        return Say(wire::Side::kClient, line);
    }
    return absl::OkStatus();
  }

  absl::Status Say(wire::Side side, absl::string_view digits) {
    const std::optional<std::string> bytes = BytesOf(digits);
    if (!bytes) {
      return Wrong(
          "these are no bytes in hex, two digits each: give C> and S> lines, a dump of xxd or "
          "hexdump -C, or hex digits alone");
    }
    if (!bytes->empty()) conversation_.Add(side, *bytes);
    return absl::OkStatus();
  }

  absl::Status ReadDumpLine(absl::string_view line) {
    if (line == "*") {
      repeats_ = true;
      return absl::OkStatus();
    }
    const std::optional<DumpLine> parsed = ParseDumpLine(line);
    if (!parsed) return Wrong("it is no line of xxd or hexdump -C");
    std::string& said = conversation_.client.bytes;
    if (repeats_ && !last_.empty() && parsed->offset >= said.size() &&
        parsed->offset - said.size() <= repeats_left_) {
      repeats_left_ -= parsed->offset - said.size();
      std::string repeated;
      while (said.size() + repeated.size() < parsed->offset) repeated.append(last_);
      conversation_.Add(wire::Side::kClient,
                        absl::string_view(repeated).substr(0, parsed->offset - said.size()));
    }
    repeats_ = false;
    if (parsed->offset != said.size()) {
      return Wrong(absl::StrCat("it says offset ", parsed->offset, ", but ", said.size(),
                                " bytes are before it"));
    }
    last_ = BytesOf(parsed->digits).value_or("");
    return Say(wire::Side::kClient, parsed->digits);
  }

  Form form_ = Form::kPlain;
  size_t number_ = 0;
  bool repeats_ = false;  // A "*" came last.
  std::string last_;      // The bytes of the line before.
  size_t repeats_left_ = kMaxRepeated;
  wire::Conversation conversation_;
  std::vector<wire::Conversation> conversations_;
};

}  // namespace

absl::StatusOr<std::vector<wire::Conversation>> ReadHexText(absl::string_view text) {
  return HexReader().Read(text);
}

}  // namespace backup::capture
