#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace backup {

struct Utf8Character {
  size_t size = 0;  // In bytes; 0 if there is no well-formed character.
  char32_t code_point = 0;
};

// The character at the front of `bytes` if it is well-formed (Unicode 15, table 3-7: nothing
// overlong, no surrogate, at most U+10FFFF). Thread-safe.
Utf8Character FrontOfUtf8(absl::string_view bytes);

}  // namespace backup
