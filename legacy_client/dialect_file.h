#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "backup/bridge/v1/dialect.pb.h"

// Descriptions of clients: dialect.proto says what each word in them means. Read apart from the
// bridge's reading on purpose: two readings of one specification keep each other honest.
namespace backup::legacy_client {

using bridge::v1::AnswerKind;
using bridge::v1::Dialect;
using bridge::v1::RequestKind;

// The dialect that the file at `path` describes. InvalidArgument with one line for each mistake,
// "PATH:LINE: what is wrong", if it is no text of a Dialect or not enough to play a client;
// NotFound and so on if it cannot be read.
absl::StatusOr<Dialect> ReadDialect(const std::string& path);

// The same of a text; `path` is for the errors.
absl::StatusOr<Dialect> ParseDialect(absl::string_view text, absl::string_view path);

// The built-in dialects (bridge/dialects), in the order of their names.
const std::vector<Dialect>& BuiltInDialects();

// The one of them with this name, for example "C" or "b3", or as the clients speak it that have
// this label: "A" has no reconnect, and its requests about a file have its id in front. NotFound,
// with all names and labels, if there is none.
absl::StatusOr<Dialect> BuiltInDialect(absl::string_view name);

// The same of the families, "A" to "E".
absl::StatusOr<Dialect> FamilyDialect(absl::string_view family);

// The request of this kind; null if the dialect has none.
const bridge::v1::Request* FindRequest(const Dialect& dialect, RequestKind kind);
bridge::v1::Request* FindRequest(Dialect& dialect, RequestKind kind);

// The FILE request, which every dialect has.
const bridge::v1::Request& FileRequestOf(const Dialect& dialect);

// The first field of this kind; null if there is none.
const bridge::v1::Field* FindField(
    const google::protobuf::RepeatedPtrField<bridge::v1::Field>& fields,
    bridge::v1::Field::Kind kind);

}  // namespace backup::legacy_client
