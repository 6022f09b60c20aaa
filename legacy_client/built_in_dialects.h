#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace backup::legacy_client {

struct BuiltInText {
  absl::string_view file_name;
  absl::string_view text;
};

// The files of bridge/dialects; CMake puts them here.
extern const absl::Span<const BuiltInText> kBuiltInTexts;

}  // namespace backup::legacy_client
