#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup {

// Longest client or file name, in bytes: the size of the field on the wire.
inline constexpr size_t kMaxNameSize = 255;

// A name's bytes as text, losslessly: valid UTF-8 without control characters (U+0000 to U+001F,
// U+007F to U+009F) stands for itself, except '%', which is "%25"; every other byte is "%XX". Safe
// to print and to log.
std::string NameToText(absl::string_view name);

// The bytes that `text` stands for. InvalidArgument if it is not text that the rule above allows (a
// '%' without two hex digits, a raw control character or byte), is empty, or stands for more than
// kMaxNameSize bytes.
absl::StatusOr<std::string> TextToName(absl::string_view text);

}  // namespace backup
