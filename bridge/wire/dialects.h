#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// The dialects that claim a request with this header: none, one, or families C and D, which share
// their codes and can be told apart only by what else is known of the client.
std::vector<const Dialect*> FindDialects(const RequestHeader& header);

// The dialect of this name; null if there is none.
const Dialect* FindDialectByName(absl::string_view name);

// What to answer in before a request's dialect is known.
const Dialect& DefaultDialect();

// What else might be speaking, from the first bytes of a connection that no dialect claims:
// "HTTP/2", "HTTP/1", "TLS", or "" if it looks like none of them.
absl::string_view DetectForeignProtocol(absl::string_view bytes);

}  // namespace backup::wire
