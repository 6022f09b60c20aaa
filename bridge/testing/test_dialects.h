#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialects.h"

namespace backup::bridge::testing {

// A dialect like C under another name, with request codes that are 4000 higher, and with `more` in
// its text.
wire::Dialect VariantOfC(absl::string_view name, absl::string_view more);

// The built-in dialects, and these.
wire::DialectSet DialectsWith(std::vector<wire::Dialect> further,
                              const wire::DialectSet::Options& options = {});

}  // namespace backup::bridge::testing
