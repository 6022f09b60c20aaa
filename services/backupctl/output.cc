#include "services/backupctl/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "glog/logging.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "nlohmann/json.hpp"

namespace backup::ctl {
namespace {

// Of this machine's clock and the service's.
constexpr absl::Duration kMaxClockDifference = absl::Minutes(1);

constexpr size_t kColumnGap = 2;
// Narrower than this a column tells nothing.
constexpr size_t kLeastColumnWidth = 4;

// Ends as a process does that writes to a pipe without a reader.
[[noreturn]] void EndBySigpipe() {
  constexpr int kExitOfSigpipe = 128 + SIGPIPE;  // What shells make of that end.
  sigset_t sigpipe;
  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  std::signal(SIGPIPE, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &sigpipe, nullptr);
  std::raise(SIGPIPE);
  ::_exit(kExitOfSigpipe);
}

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The value of a field, or of its element `index` if it is repeated.
nlohmann::ordered_json JsonOf(const Message& message, const FieldDescriptor& field, int index) {
  const google::protobuf::Reflection& of = *message.GetReflection();
  const bool repeated = field.is_repeated();
  switch (field.cpp_type()) {
#define BACKUP_JSON_CASE(TYPE, NAME)    \
  case FieldDescriptor::CPPTYPE_##TYPE: \
    return repeated ? of.GetRepeated##NAME(message, &field, index) : of.Get##NAME(message, &field)
    BACKUP_JSON_CASE(INT32, Int32);
    BACKUP_JSON_CASE(INT64, Int64);
    BACKUP_JSON_CASE(UINT32, UInt32);
    BACKUP_JSON_CASE(UINT64, UInt64);
    BACKUP_JSON_CASE(DOUBLE, Double);
    BACKUP_JSON_CASE(FLOAT, Float);
    BACKUP_JSON_CASE(BOOL, Bool);
#undef BACKUP_JSON_CASE
    case FieldDescriptor::CPPTYPE_ENUM:
      return (repeated ? of.GetRepeatedEnum(message, &field, index) : of.GetEnum(message, &field))
          ->name();
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string text =
          repeated ? of.GetRepeatedString(message, &field, index) : of.GetString(message, &field);
      if (field.type() == FieldDescriptor::TYPE_BYTES) return absl::BytesToHexString(text);
      return text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(repeated ? of.GetRepeatedMessage(message, &field, index)
                             : of.GetMessage(message, &field));
  }
  return nullptr;
}

// `text` in lines of at most `width` columns, broken at blanks and in words that are longer.
std::vector<std::string> Wrap(absl::string_view text, size_t width) {
  std::vector<std::string> lines(1);
  for (absl::string_view word : absl::StrSplit(text, ' ')) {
    const size_t used = DisplayWidth(lines.back());
    if (used > 0 && used + 1 + DisplayWidth(word) <= width) {
      absl::StrAppend(&lines.back(), " ", word);
      continue;
    }
    if (used > 0) lines.emplace_back();
    for (absl::string_view front = FrontOfWidth(word, width);
         !front.empty() && front.size() < word.size(); front = FrontOfWidth(word, width)) {
      lines.back() = std::string(front);
      lines.emplace_back();
      word.remove_prefix(front.size());
    }
    lines.back() = std::string(word);
  }
  return lines;
}

}  // namespace

std::string HumanSize(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double size = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // What would be rounded up to 1024.0 is 1.0 of the next unit.
  while (size >= 1023.95 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", size, kUnits[unit]);
}

std::string RatioText(int64_t stored, int64_t kept) {
  if (kept <= 0) return "-";
  return absl::StrFormat("%.1f", static_cast<double>(stored) / static_cast<double>(kept));
}

std::string JsonTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  const absl::Time moment = absl::FromUnixSeconds(time.seconds());
  const bool is_wrong = moment > SystemClock().Now() + kMaxClockDifference;
  return absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", moment, absl::UTCTimeZone()),
                      is_wrong ? " (in the future)" : "");
}

void Table::AddRow(const std::vector<std::string>& cells) {
  CHECK_EQ(cells.size(), columns_.size());
  std::vector<std::string> row;
  for (const std::string& cell : cells) row.push_back(Printable(cell));
  rows_.push_back(std::move(row));
}

std::vector<size_t> Table::ColumnWidths(size_t line_width) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(DisplayWidth(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  if (line_width == 0) return widths;
  size_t all = std::accumulate(widths.begin(), widths.end(), kColumnGap * (widths.size() - 1));
  while (all > line_width) {
    size_t& widest = *std::max_element(widths.begin(), widths.end());
    if (widest <= kLeastColumnWidth) break;
    --widest;
    --all;
  }
  return widths;
}

std::string Table::Render(size_t width) const {
  const std::vector<size_t> widths = ColumnWidths(width);
  std::string text;
  const auto append = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line.append(kColumnGap, ' ');
      const std::string cell = FitToWidth(row[i], widths[i], columns_[i].cut);
      const std::string padding(widths[i] - DisplayWidth(cell), ' ');
      absl::StrAppend(&line, columns_[i].align == Align::kRight ? padding : "", cell,
                      columns_[i].align == Align::kLeft ? padding : "");
    }
    absl::StripTrailingAsciiWhitespace(&line);
    // Where not even the least widths fit.
    absl::StrAppend(&text, width == 0 ? line : FitToWidth(line, width, Cut::kEnd), "\n");
  };
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  append(titles);
  for (const auto& row : rows_) append(row);
  return text;
}

std::string RenderFields(const Fields& fields, size_t width) {
  size_t name_width = 0;
  for (const auto& [name, value] : fields) name_width = std::max(name_width, DisplayWidth(name));
  const size_t indent = name_width + 1 + kColumnGap;
  const size_t value_width = width <= indent ? SIZE_MAX : width - indent;
  std::string text;
  for (const auto& [name, value] : fields) {
    std::string head = absl::StrCat(name, ":");
    for (const std::string& line : Wrap(Printable(value), value_width)) {
      head.append(indent - DisplayWidth(head), ' ');
      absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(absl::StrCat(head, line)), "\n");
      head.clear();
    }
  }
  return text;
}

size_t TerminalWidth() {
  winsize size = {};
  return ::isatty(STDOUT_FILENO) == 1 && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0
             ? size.ws_col
             : 0;
}

nlohmann::ordered_json ToJson(const Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  if (type.full_name() == google::protobuf::Timestamp::descriptor()->full_name())
    return JsonTime(ToTime(static_cast<const google::protobuf::Timestamp&>(message)));
  if (type.full_name() == google::protobuf::Duration::descriptor()->full_name()) {
    const auto& duration = static_cast<const google::protobuf::Duration&>(message);
    return static_cast<double>(duration.seconds()) + duration.nanos() / 1e9;
  }
  const google::protobuf::Reflection& of = *message.GetReflection();
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_repeated()) {
      nlohmann::ordered_json list = nlohmann::ordered_json::array();
      for (int at = 0; at < of.FieldSize(message, &field); ++at)
        list.push_back(JsonOf(message, field, at));
      object[field.name()] = std::move(list);
    } else if (!field.has_presence() || of.HasField(message, &field)) {
      object[field.name()] = JsonOf(message, field, 0);
    }
  }
  return object;
}

void Output::Write(absl::string_view bytes) {
  errno = 0;
  if (out_ << bytes << std::flush || error_ != 0) return;
  error_ = errno == 0 ? EIO : errno;
  if (error_ == EPIPE) EndBySigpipe();
}

void Output::Text(absl::string_view text) { Write(text); }

void Output::Json(const Message& message) { Json(ToJson(message)); }

void Output::Json(const nlohmann::ordered_json& object) {
  // ASCII only, so that no name steers a terminal. A path may hold bytes that are not UTF-8, which
  // JSON cannot.
  constexpr bool kAsciiOnly = true;
  Write(absl::StrCat(object.dump(-1, ' ', kAsciiOnly, nlohmann::json::error_handler_t::replace),
                     "\n"));
}

absl::Status Output::Check() const {
  if (error_ == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("cannot write to standard output: ", std::strerror(error_)));
}

void Output::Note(absl::string_view line) {
  if (!options_.quiet) Write(absl::StrCat(Printable(line), "\n"));
}

void Output::Problem(absl::string_view line) {
  err_ << "backupctl: " << Printable(line) << std::endl;
}

void Output::Ask(absl::string_view question) { err_ << Printable(question) << std::flush; }

}  // namespace backup::ctl
