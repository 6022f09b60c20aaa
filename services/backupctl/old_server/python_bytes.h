#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace backup::ctl::old_server {

// The bytes that the text of a Python bytes literal stands for, such as `b'X\xdd\n'`: what Python's
// str() makes of bytes, and all other escapes of the language. Nothing if it is not one literal
// from its first to its last character. Triple quotes and raw literals are none, as str() makes
// none.
std::optional<std::string> ParsePythonBytes(absl::string_view text);

}  // namespace backup::ctl::old_server
