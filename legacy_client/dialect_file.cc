#include "legacy_client/dialect_file.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "legacy_client/built_in_dialects.h"
#include "legacy_client/dialect_check.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::Field;
using bridge::v1::Label;
using bridge::v1::Request;
using google::protobuf::TextFormat;

// Far more than any description needs.
constexpr size_t kMaxFileSize = 1 << 20;

// Lines and columns of protobuf count from 0.
class ErrorLines final : public google::protobuf::io::ErrorCollector {
 public:
  ErrorLines(absl::string_view text, absl::string_view path)
      : text_(absl::StrSplit(text, '\n')), path_(path) {}
  void AddError(int line, int, const std::string& message) override {
    lines_.push_back(absl::StrCat(path_, ":", LineOf(line, message) + 1, ": ", message));
  }
  void AddWarning(int, int, const std::string&) override {}
  std::string Text() const { return absl::StrJoin(lines_, "\n"); }

 private:
  // Of an unknown value protobuf says the line of what follows it: then the last line before with
  // the value, which is the first that the message quotes.
  int LineOf(int line, absl::string_view message) const {
    const std::vector<absl::string_view> quoted = absl::StrSplit(message, '"');
    if (quoted.size() < 2) return line;
    for (int i = std::min(line, static_cast<int>(text_.size()) - 1); i >= 0; --i) {
      if (absl::StrContains(text_[static_cast<size_t>(i)], quoted[1])) return i;
    }
    return line;
  }

  const std::vector<absl::string_view> text_;
  const absl::string_view path_;
  std::vector<std::string> lines_;
};

std::vector<Dialect> ParseBuiltIn() {
  std::vector<Dialect> dialects;
  for (const BuiltInText& built_in : kBuiltInTexts) {
    dialects.push_back(ParseDialect(built_in.text, built_in.file_name).value());
  }
  std::sort(dialects.begin(), dialects.end(),
            [](const Dialect& a, const Dialect& b) { return a.name() < b.name(); });
  return dialects;
}

void RequireIdsInPayload(Dialect& dialect) {
  for (Request& request : *dialect.mutable_requests()) {
    for (Field& field : *request.mutable_fields()) field.set_may_be_missing(false);
  }
}

void RemoveReconnect(Dialect& dialect) {
  auto& requests = *dialect.mutable_requests();
  requests.erase(std::remove_if(requests.begin(), requests.end(),
                                [](const Request& request) {
                                  return request.kind() == RequestKind::RECONNECT;
                                }),
                 requests.end());
}

// As the clients speak to which a label of the dialect belongs.
Dialect SpokenBy(const Label& label, Dialect dialect) {
  if (label.id_in_payload()) {
    RequireIdsInPayload(dialect);
    RemoveReconnect(dialect);  // It would be of the others.
  }
  return dialect;
}

}  // namespace

absl::StatusOr<Dialect> ParseDialect(absl::string_view text, absl::string_view path) {
  ErrorLines errors(text, path);
  TextFormat::ParseInfoTree places;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.WriteLocationsTo(&places);
  Dialect dialect;
  if (!parser.ParseFromString(std::string(text), &dialect)) {
    return absl::InvalidArgumentError(errors.Text());
  }
  const std::string mistakes = CheckDialect(dialect, places, path);
  if (!mistakes.empty()) return absl::InvalidArgumentError(mistakes);
  return dialect;
}

absl::StatusOr<Dialect> ReadDialect(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFileSize + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad() || file.gcount() == 0) {
    return absl::ErrnoToStatus(errno == 0 ? EINVAL : errno, absl::StrCat("cannot read ", path));
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxFileSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has more than ", kMaxFileSize, " bytes: no dialect"));
  }
  return ParseDialect(text, path);
}

const std::vector<Dialect>& BuiltInDialects() {
  static const std::vector<Dialect>& dialects = *new std::vector<Dialect>(ParseBuiltIn());
  return dialects;
}

absl::StatusOr<Dialect> BuiltInDialect(absl::string_view name) {
  std::vector<std::string> names;
  for (const Dialect& dialect : BuiltInDialects()) {
    if (dialect.name() == name) return dialect;
    names.push_back(dialect.name());
    for (const Label& label : dialect.labels()) {
      if (label.name() == name) return SpokenBy(label, dialect);
      names.push_back(label.name());
    }
  }
  return absl::NotFoundError(absl::StrCat("must be one of ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<Dialect> FamilyDialect(absl::string_view family) {
  if (family.size() != 1 || family < "A" || family > "E")
    return absl::NotFoundError("must be one of A, B, C, D, E");
  return BuiltInDialect(family);
}

const Request* FindRequest(const Dialect& dialect, RequestKind kind) {
  const auto found = std::find_if(dialect.requests().begin(), dialect.requests().end(),
                                  [&](const Request& request) { return request.kind() == kind; });
  return found == dialect.requests().end() ? nullptr : &*found;
}

Request* FindRequest(Dialect& dialect, RequestKind kind) {
  return const_cast<Request*>(FindRequest(std::as_const(dialect), kind));
}

const Request& FileRequestOf(const Dialect& dialect) {
  const Request* const request = FindRequest(dialect, RequestKind::FILE);
  CHECK(request != nullptr);
  return *request;
}

const Field* FindField(const google::protobuf::RepeatedPtrField<Field>& fields, Field::Kind kind) {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const Field& field) { return field.kind() == kind; });
  return found == fields.end() ? nullptr : &*found;
}

}  // namespace backup::legacy_client
