#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace backup {

// All here is thread-safe.

// `text` without what could steer a terminal, break a line or deceive a reader: control characters
// (C0, C1, DEL), bidirectional controls, and all else that shows nothing (zero-width characters,
// tags, variation selectors, line separators, blanks other than U+0020), and bytes that are not
// UTF-8. Each byte of them is "%XX", so a name in the API's text form still means the same name.
std::string Printable(absl::string_view text);

// The same of a line's inner part that may hold line feeds, which stay.
std::string PrintableLines(absl::string_view text);

// Columns that printable UTF-8 takes on a terminal: wide characters take two, combining ones none.
size_t DisplayWidth(absl::string_view text);

// The longest beginning of `text` that fits into `width` columns.
absl::string_view FrontOfWidth(absl::string_view text, size_t width);

enum class Cut { kEnd, kMiddle };
// `text`, or as much of it as fits into `width` columns (1 at least) with an ellipsis for the rest.
std::string FitToWidth(absl::string_view text, size_t width, Cut cut);

}  // namespace backup
