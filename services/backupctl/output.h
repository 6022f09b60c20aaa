#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"
#include "nlohmann/json_fwd.hpp"
#include "services/backupctl/progress_bar.h"

namespace backup::ctl {

// `text` with control characters as "%XX", so that nothing from outside can steer a terminal or
// break a line.
std::string Printable(absl::string_view text);

// For example "0 B", "1023 B", "1.5 KiB", "12.0 GiB".
std::string HumanSize(int64_t bytes);

// RFC 3339 in UTC, whole seconds.
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
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as there are columns; made printable.
  void AddRow(const std::vector<std::string>& cells);
  // A line of titles (none if all are empty), then the rows; nothing ends in a space.
  std::string Render() const;

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Two columns without titles: what something is called, and what it is.
std::string RenderFields(const std::vector<std::pair<std::string, std::string>>& fields);

// Where results go. Used by one thread at a time.
class Output {
 public:
  struct Options {
    bool json = false;   // One JSON object a line instead of text.
    bool quiet = false;  // No notes, no progress.
    ProgressStyle progress;
  };

  Output(std::ostream& out, std::ostream& err, Options options)
      : out_(out), err_(err), options_(options) {}

  bool json() const { return options_.json; }
  const ProgressStyle& progress() const { return options_.progress; }

  // Results, on standard output.
  void Text(absl::string_view text);
  void Json(const google::protobuf::Message& message);
  void Json(const nlohmann::json& object);
  // What was done, on standard output; nothing with --quiet.
  void Note(absl::string_view line);
  // What went wrong with one of several things, on standard error.
  void Problem(absl::string_view line);

 private:
  std::ostream& out_;
  std::ostream& err_;
  const Options options_;
};

}  // namespace backup::ctl
