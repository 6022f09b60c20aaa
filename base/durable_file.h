#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/file_system.h"

namespace backup {

// Small files that are made or replaced as a whole. On failure these set errno. Thread-safe, but
// only one at a time may replace a file.

// Has the file `path`, readable for its owner only, hold `text`, durably (file and folder synced),
// by way of PATH.new, of which it removes what a crash left. Whatever fails or crashes, `path` is
// as it was or holds all of `text`; it may hold that even if this returns false.
bool ReplaceFile(const std::string& path, absl::string_view text,
                 FileSystem& file_system = FileSystem::Real());

// Has there be a file `path`, durably: with `text`, and readable for its owner only, unless there
// is one. Of any number that try at once, all find the same one. By way of PATH.new.ID, where
// nobody else may have this `id`; what a crash leaves of that stays.
bool MakeFileIfMissing(const std::string& path, absl::string_view text, absl::string_view id,
                       FileSystem& file_system = FileSystem::Real());

// The first `max_size` bytes of a file at most.
std::optional<std::string> ReadSmallFile(const std::string& path, size_t max_size,
                                         FileSystem& file_system = FileSystem::Real());

}  // namespace backup
