#pragma once

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace backup::fuzz {

// Whether `c` is one of `items`, such as "a-z_".
inline bool IsAmong(char c, absl::string_view items) {
  const auto byte = static_cast<uint8_t>(c);
  while (!items.empty()) {
    const bool is_range = items.size() >= 3 && items[1] == '-';
    const auto first = static_cast<uint8_t>(items[0]);
    const auto last = is_range ? static_cast<uint8_t>(items[2]) : first;
    if (byte >= first && byte <= last) return true;
    items.remove_prefix(is_range ? 3 : 1);
  }
  return false;
}

// Whether a name matches a good pattern, by what services/backup/retention/name_pattern.h says of
// patterns, read from left to right: to compare others with. Takes time for all ways to divide the
// name among the "*".
inline bool SlowlyMatches(absl::string_view pattern, absl::string_view name) {
  if (pattern.empty()) return name.empty();
  const auto matches_behind = [&](absl::string_view rest, bool may_be_slash) {
    for (size_t size = 0; size <= name.size(); ++size) {
      if (SlowlyMatches(rest, name.substr(size))) return true;
      if (size < name.size() && name[size] == '/' && !may_be_slash) return false;
    }
    return false;
  };
  if (absl::ConsumePrefix(&pattern, "**/")) {
    if (SlowlyMatches(pattern, name)) return true;
    for (size_t size = 0; size < name.size(); ++size) {
      if (name[size] == '/' && SlowlyMatches(pattern, name.substr(size + 1))) return true;
    }
    return false;
  }
  if (absl::ConsumePrefix(&pattern, "**")) return matches_behind(pattern, /*may_be_slash=*/true);
  if (absl::ConsumePrefix(&pattern, "*")) return matches_behind(pattern, /*may_be_slash=*/false);
  if (name.empty()) return false;
  size_t size = 1;
  bool is_it = name[0] == pattern[0];
  if (pattern[0] == '?') is_it = name[0] != '/';
  if (pattern[0] == '[') {
    const bool is_negated = absl::StartsWith(pattern, "[!") || absl::StartsWith(pattern, "[^");
    const size_t begin = is_negated ? 2 : 1;
    const size_t end = pattern.find(']', begin + 1);
    is_it = IsAmong(name[0], pattern.substr(begin, end - begin)) != is_negated &&
            !(is_negated && name[0] == '/');
    size = end + 1;
  }
  return is_it && SlowlyMatches(pattern.substr(size), name.substr(1));
}

}  // namespace backup::fuzz
