#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace backup::wire {

struct BuiltInText {
  absl::string_view file_name;
  absl::string_view text;
};

// The files of bridge/dialects, in the order of preference; CMake puts them here.
extern const absl::Span<const BuiltInText> kBuiltInTexts;

}  // namespace backup::wire
