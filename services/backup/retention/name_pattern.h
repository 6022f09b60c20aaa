#pragma once

#include <bitset>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::retention {

// A pattern of file names, by bytes: `*` is any bytes but "/", `**` any at all, `**/` any folders
// or none, `?` one byte but "/", `[a-z]` one of these and `[!a-z]` or `[^a-z]` none of them, nor
// "/". Everything else stands for itself, also "\", which is in the names of Windows. Matching
// takes time for the product of the two lengths at most. Thread-safe.
class NamePattern {
 public:
  static constexpr size_t kMaxSize = 255;  // Bytes of a pattern: as a name has.

  // Reason INVALID_FIELD, about `field`: it is empty, too long, or a class is not closed, holds
  // nothing or ends before it begins.
  static absl::StatusOr<NamePattern> Parse(absl::string_view field, absl::string_view pattern);

  const std::string& text() const { return text_; }
  // How many bytes every name that matches begins with.
  size_t literal_prefix_size() const { return literal_prefix_size_; }
  // Whether the whole name matches, or is the pattern itself, byte by byte.
  bool Matches(absl::string_view name) const;

 private:
  using Bytes = std::bitset<256>;
  // One byte of these; any number of them, also none; or no byte, after which the next two steps
  // may be left out.
  struct Step {
    enum class Kind { kOne, kAnyNumber, kMaySkipTwo };
    Bytes bytes;
    Kind kind = Kind::kOne;
  };
  // Of matching: before each step, and behind the last. There are no more steps than bytes in the
  // pattern.
  using States = std::bitset<kMaxSize + 1>;

  explicit NamePattern(absl::string_view pattern) : text_(pattern) {}
  // Takes the class off that `pattern` begins with; false if it makes no sense.
  bool TakeClass(absl::string_view& pattern);
  // Adds what can be reached from the states without a byte.
  void Follow(States& states) const;

  std::string text_;
  std::vector<Step> steps_;
  size_t literal_prefix_size_ = 0;
};

}  // namespace backup::retention
