#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bridge/net/connection.h"
#include "bridge/wire/dialect.h"

// Requests and what came of them, for logs, metrics and records.
namespace backup::bridge {

// One word: "register", "file".
absl::string_view RequestName(const wire::Operation& operation);

// A request for the log and for whoever traces the client: never a key or content. Of `head`, the
// bytes as they came, the header and, unless it is a key, the beginning of the payload.
std::string DescribeRequest(absl::string_view head, const wire::Dialect& dialect,
                            const wire::Request& request);

// How a client lays the content of a file out, for its record.
std::string FileStyle(const wire::SendFile& file, bool in_segments);

// "ok", or the reason or code.
std::string OutcomeText(const absl::Status& outcome);
// What the outcome has to say beside its code: " error=...", or nothing.
std::string ErrorText(const absl::Status& outcome);

// Whose request it is: "conn=7 peer=1.2.3.4:5".
std::string OriginText(const Connection& connection);

}  // namespace backup::bridge
