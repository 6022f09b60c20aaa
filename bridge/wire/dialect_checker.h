#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "backup/bridge/v1/dialect.pb.h"
#include "google/protobuf/text_format.h"

namespace backup::wire {

// A message of a description, with where it stands in the text: errors name the line.
class Place {
 public:
  using Tree = google::protobuf::TextFormat::ParseInfoTree;

  // Of a message that begins at `line`, from 1. `tree` may be null and must outlive this.
  Place(const Tree* tree, int line) : tree_(tree), line_(line) {}

  int line() const { return line_; }
  // The line of a field, or of the message if the field is not there. `index`: of a repeated one.
  int LineOf(const google::protobuf::Message& message, const char* field, int index = 0) const;
  // Of the message that the field holds.
  Place Of(const google::protobuf::Message& message, const char* field, int index = 0) const;

 private:
  const Tree* tree_;
  int line_;
};

// The contradictions in a description, each as "FILE:LINE: what is wrong". Used by one thread.
class DialectErrors {
 public:
  explicit DialectErrors(absl::string_view file_name) : file_name_(file_name) {}

  void Add(int line, absl::string_view what);
  bool empty() const { return lines_.empty(); }
  // InvalidArgument with all of them, or OK.
  absl::Status status() const;

 private:
  const std::string file_name_;
  std::vector<std::string> lines_;
};

// Adds all that contradicts itself in `dialect`, or has no limit. What it finds nothing in can be
// compiled.
void CheckDialect(const bridge::v1::Dialect& dialect, const Place& place, DialectErrors& errors);

}  // namespace backup::wire
