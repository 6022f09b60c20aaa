#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace backup::ctl {

// Longest name of one file or folder, in bytes, on the file systems that matter.
inline constexpr size_t kMaxComponentSize = 255;

// The name of one file, made of any bytes: never a path, never hidden behind an option's dash,
// printable, and allowed on Windows too. It is the name's text (base/name_text.h) with these as
// "%XX" besides: / \ : * ? " < > |, a dash at the front, a dot or space at the end, and the first
// letter of a device's name such as CON. So two names never become one, except that one which would
// be too long ends in a part of its SHA-256 instead. `name` is not empty.
std::string SafeComponent(absl::string_view name);

// Where the file called `name` may be put below a folder, best first: under the sub-folders that
// the name asks for, if every component is harmless as it is, a "/" at the front left out as tar
// does; then as a single component, which no other name has. Relative, and never with a component
// ".." or a symbol that means anything.
std::vector<std::string> SafePaths(absl::string_view name);

// The last component of a name written on whatever system, made safe: what a single downloaded file
// is called.
std::string SafeBaseName(absl::string_view name);

// `path` with a number at its end, for a file whose place is taken; not longer than is allowed.
std::string NumberedPath(absl::string_view path, int number);

}  // namespace backup::ctl
