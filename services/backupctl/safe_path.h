#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace backup::ctl {

// Longest name of one file or folder, in bytes, on the file systems that matter.
inline constexpr size_t kMaxComponentSize = 255;

// Which names can be kept as they are.
struct NameRules {
  // Only those that every system takes, printable ones of UTF-8. Else all that Linux takes.
  bool portable = false;
  // Longest name of one file or folder, in bytes.
  size_t max_component_size = kMaxComponentSize;
};

// The path, relative to where it is restored, that means what `name` says: without the "/" at its
// front, as tar does it. Not a path to be used: it may be empty, or lead anywhere.
absl::string_view NaturalPath(absl::string_view name);

// The name of one file, made of any bytes, of which there is at least one: `name` itself if the
// rules allow it, and else with what they forbid as "%XX" ("%" itself then too). Forbidden are, on
// Linux, "/", NUL, and "." and ".." as a whole, and names of parts (IsPartName()); and if it is to
// be portable, control characters, bytes that are not UTF-8, \ : * ? " < > |, a dot or space at the
// end, and the first letter of a device's name such as CON. What would be too long ends in a part
// of its SHA-256 instead.
std::string SafeComponent(absl::string_view name, const NameRules& rules);

// Where the file called `name` may be put below a folder, best first: its natural path, with each
// component made safe, if that leads below the folder; then as a single component. Relative, never
// with a component that is empty, "." or "..". Not even the last is another name's for sure.
std::vector<std::string> SafePaths(absl::string_view name, const NameRules& rules);

// The last component of a name written on whatever system, made safe: what a single downloaded file
// is called.
std::string SafeBaseName(absl::string_view name);

// `path` with a number at its end, for a file whose place is taken; not longer than is allowed.
std::string NumberedPath(absl::string_view path, int number, const NameRules& rules);

// The same for all paths that systems which do not tell upper from lower case take for one.
std::string FoldCase(absl::string_view path);

}  // namespace backup::ctl
