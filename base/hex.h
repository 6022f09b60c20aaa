#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace backup {

// The bytes that `hex` spells, two digits of either case each; nothing if it is anything else.
// (Abseil's own conversion checks nothing in one release, and has another signature in the next.)
std::optional<std::string> HexToBytes(absl::string_view hex);

}  // namespace backup
