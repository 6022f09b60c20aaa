#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// Whether dialects can be served on one port: InvalidArgument, with one line for each, if two have
// one name or label, or if a request of one is also one of another that means something else there
// or is answered differently, and neither says so (Recognition.same_requests_as). What it finds, it
// finds by trying: sample requests of each dialect are read by all others.
absl::Status CheckConflicts(absl::Span<const Dialect> dialects);

}  // namespace backup::wire
