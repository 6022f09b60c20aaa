#include "services/backup/retention/name_pattern.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"

namespace backup::retention {
namespace {

std::bitset<256> AllBytes() { return std::bitset<256>().set(); }
std::bitset<256> AllButSlash() { return AllBytes().reset('/'); }

std::bitset<256> Only(char c) { return std::bitset<256>().set(static_cast<uint8_t>(c)); }

// The bytes that `items`, such as "a-z_", names; nothing if a range ends before it begins.
std::optional<std::bitset<256>> BytesOf(absl::string_view items) {
  std::bitset<256> bytes;
  while (!items.empty()) {
    const auto first = static_cast<uint8_t>(items[0]);
    const bool is_range = items.size() >= 3 && items[1] == '-';
    const auto last = is_range ? static_cast<uint8_t>(items[2]) : first;
    if (last < first) return std::nullopt;
    for (int byte = first; byte <= last; ++byte) bytes.set(static_cast<size_t>(byte));
    items.remove_prefix(is_range ? 3 : 1);
  }
  return bytes;
}

}  // namespace

bool NamePattern::TakeClass(absl::string_view& pattern) {
  const bool is_negated = absl::StartsWith(pattern, "[!") || absl::StartsWith(pattern, "[^");
  const size_t begin = is_negated ? 2 : 1;
  size_t end = pattern.find(']', begin);
  if (end == begin) end = pattern.find(']', begin + 1);  // "[]a]" has a "]" in it.
  if (end == absl::string_view::npos) return false;
  std::optional<Bytes> bytes = BytesOf(pattern.substr(begin, end - begin));
  if (!bytes) return false;
  if (is_negated) bytes = ~*bytes & AllButSlash();
  steps_.push_back({*bytes});
  pattern.remove_prefix(end + 1);
  return true;
}

absl::StatusOr<NamePattern> NamePattern::Parse(absl::string_view field, absl::string_view pattern) {
  if (pattern.empty() || pattern.size() > kMaxSize) {
    return MakeError(Reason::kInvalidField,
                     absl::StrCat(field, " must have 1 to ", kMaxSize, " bytes"), field);
  }
  NamePattern parsed(pattern);
  parsed.literal_prefix_size_ = std::min(pattern.find_first_of("*?["), pattern.size());
  while (!pattern.empty()) {
    if (absl::ConsumePrefix(&pattern, "**/")) {
      parsed.steps_.push_back({Bytes(), Step::Kind::kMaySkipTwo});
      parsed.steps_.push_back({AllBytes(), Step::Kind::kAnyNumber});
      parsed.steps_.push_back({Only('/')});
    } else if (absl::ConsumePrefix(&pattern, "**")) {
      parsed.steps_.push_back({AllBytes(), Step::Kind::kAnyNumber});
    } else if (absl::ConsumePrefix(&pattern, "*")) {
      parsed.steps_.push_back({AllButSlash(), Step::Kind::kAnyNumber});
    } else if (absl::ConsumePrefix(&pattern, "?")) {
      parsed.steps_.push_back({AllButSlash()});
    } else if (pattern[0] != '[') {
      parsed.steps_.push_back({Only(pattern[0])});
      pattern.remove_prefix(1);
    } else if (!parsed.TakeClass(pattern)) {
      return MakeError(Reason::kInvalidField,
                       absl::StrCat(field, ": `[` begins a class such as [a-z]; [[] means itself"),
                       field);
    }
  }
  return parsed;
}

void NamePattern::Follow(States& states) const {
  for (size_t i = literal_prefix_size_; i < steps_.size(); ++i) {
    if (!states.test(i) || steps_[i].kind == Step::Kind::kOne) continue;
    states.set(i + 1);
    if (steps_[i].kind == Step::Kind::kMaySkipTwo) states.set(i + 3);
  }
}

bool NamePattern::Matches(absl::string_view name) const {
  if (name == text_) return true;
  if (!absl::StartsWith(name, absl::string_view(text_).substr(0, literal_prefix_size_)))
    return false;
  name.remove_prefix(literal_prefix_size_);
  States states;
  states.set(literal_prefix_size_);
  Follow(states);
  for (const char c : name) {
    States next;
    for (size_t i = literal_prefix_size_; i < steps_.size(); ++i) {
      if (states.test(i) && steps_[i].bytes.test(static_cast<uint8_t>(c)))
        next.set(steps_[i].kind == Step::Kind::kAnyNumber ? i : i + 1);
    }
    if (next.none()) return false;
    Follow(next);
    states = next;
  }
  return states.test(steps_.size());
}

}  // namespace backup::retention
