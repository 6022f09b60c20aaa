#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/printable.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"
#include "nlohmann/json_fwd.hpp"
#include "services/backupctl/progress_bar.h"

namespace backup::ctl {

// For example "0 B", "1023 B", "1.5 KiB", "12.0 GiB".
std::string HumanSize(int64_t bytes);

// How many times as large as `kept` `stored` is, for example "3.4"; "-" if nothing is kept.
std::string RatioText(int64_t stored, int64_t kept);

// The moment that the API's `time` is.
inline absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

// RFC 3339 in UTC with as many digits of a second as it has: a time in JSON.
std::string JsonTime(absl::Time time);

// RFC 3339 in UTC, whole seconds; for people, as a time in the future is marked as such.
std::string TimeText(const google::protobuf::Timestamp& time);
// The same, or "never" if the field is unset.
template <typename Message>
std::string TimeOrNever(const Message& message, bool (Message::*has)() const,
                        const google::protobuf::Timestamp& (Message::*get)() const) {
  return (message.*has)() ? TimeText((message.*get)()) : "never";
}

// Rows in aligned columns. Used by one thread at a time.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    Cut cut = Cut::kEnd;  // Where a cell loses what there is no room for.
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as there are columns; made printable.
  void AddRow(const std::vector<std::string>& cells);
  // A line of titles, then the rows; nothing ends in a space. Lines fit into `width` columns by
  // cutting the widest cells; 0: however wide they are.
  std::string Render(size_t width = 0) const;

 private:
  std::vector<size_t> ColumnWidths(size_t line_width) const;

  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// What something is called, and what it is.
using Fields = std::vector<std::pair<std::string, std::string>>;
// A line for each; what is wider than `width` columns goes on in the next line. 0: no limit.
std::string RenderFields(const Fields& fields, size_t width = 0);

// The columns of the terminal that standard output is; 0 if it is none.
size_t TerminalWidth();

// `message` as the JSON of docs/json.md: bytes in lower hex, numbers as numbers, times as
// JsonTime(), durations as seconds, enumerations by name; messages that are not set are left out.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

// Where results go. Used by one thread at a time.
class Output {
 public:
  struct Options {
    bool json = false;   // One JSON object a line instead of text.
    bool quiet = false;  // No notes, no progress.
    size_t width = 0;    // Of tables, in columns; 0: however wide they are.
    ProgressStyle progress;
  };

  Output(std::ostream& out, std::ostream& err, Options options)
      : out_(out), err_(err), options_(options) {}

  // All of it on standard error, for when standard output is for a file's bytes.
  Output OnStandardError() const { return Output(err_, err_, options_); }

  bool json() const { return options_.json; }
  const ProgressStyle& progress() const { return options_.progress; }

  // Results, on standard output.
  void Text(absl::string_view text);
  void Print(const Table& table) { Text(table.Render(options_.width)); }
  void Print(const Fields& fields) { Text(RenderFields(fields, options_.width)); }
  void Json(const google::protobuf::Message& message);
  void Json(const nlohmann::ordered_json& object);
  // What was done, on standard output; nothing with --quiet.
  void Note(absl::string_view line);
  // What went wrong with one of several things, on standard error.
  void Problem(absl::string_view line);
  // A question, on standard error; the answer is typed behind it.
  void Ask(absl::string_view question);

  // Internal if something could not be written to standard output. If that is because its reader
  // went away, as `head` does, the process has ended already: quietly, by SIGPIPE, as others do.
  absl::Status Check() const;

 private:
  void Write(absl::string_view bytes);

  std::ostream& out_;
  std::ostream& err_;
  const Options options_;
  int error_ = 0;  // The errno of the first write that failed.
};

}  // namespace backup::ctl
