#pragma once

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// The dialect that claims a request with this header; null if none does.
const Dialect* FindDialect(const RequestHeader& header);

// What to answer in before a request's dialect is known.
const Dialect& DefaultDialect();

// What else might be speaking, from the first bytes of a connection that no dialect claims:
// "HTTP/2", "HTTP/1", "TLS", or "" if it looks like none of them.
absl::string_view DetectForeignProtocol(absl::string_view bytes);

}  // namespace backup::wire
