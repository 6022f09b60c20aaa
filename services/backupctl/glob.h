#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace re2 {
class RE2;
}

namespace backup::ctl {

// A pattern of file names: `*` is any characters but "/", `**` any at all, `**/` any folders or
// none, `?` one character but "/", `[a-z]` one of these and `[!a-z]` none of them. Everything else
// stands for itself, also "\", which is in the names of Windows. Thread-safe.
class Glob {
 public:
  // InvalidArgument if `text` is no name's text (base/name_text.h) or its brackets make no sense.
  static absl::StatusOr<Glob> Parse(absl::string_view text);
  Glob(Glob&&) noexcept;
  Glob& operator=(Glob&&) noexcept;
  ~Glob();

  // As it was given.
  const std::string& text() const { return text_; }
  // Whether a name is meant, which is given as text: it fits as a whole, or is this text itself.
  bool Matches(absl::string_view name) const;

 private:
  Glob(std::string text, std::unique_ptr<re2::RE2> pattern);

  std::string text_;
  std::unique_ptr<re2::RE2> pattern_;
};

}  // namespace backup::ctl
