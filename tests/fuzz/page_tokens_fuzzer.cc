// A page token means the place that it was made for, in the list that it was made for; in another
// list it is refused, and so is all else that somebody makes up.

#include <string>

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "glog/logging.h"
#include "services/backup/handlers/page_tokens.h"
#include "services/backup/limits.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  const int page_size = static_cast<int>(input.Uint(4));
  const auto parsed_size = handlers::ParsePageSize(page_size);
  CHECK_EQ(parsed_size.ok(), page_size >= 0);
  if (parsed_size.ok()) CHECK(*parsed_size >= 1 && *parsed_size <= kMaxPageSize);
  const std::string scope(input.Text(100));
  const std::string text(input.Rest());
  if (const auto position = handlers::ParsePageToken(scope, text); position.ok()) {
    CHECK_EQ(position->empty(), text.empty());
    if (!text.empty())
      CHECK(*handlers::ParsePageToken(scope, handlers::MakePageToken(scope, *position)) ==
            *position);
  } else {
    CHECK(ReasonOf(position.status()) == Reason::kInvalidField);
  }
  if (text.empty()) return;
  const std::string token = handlers::MakePageToken(scope, text);
  CHECK(*handlers::ParsePageToken(scope, token) == text);
  CHECK(!handlers::ParsePageToken(scope + "x", token).ok());
}

}  // namespace backup::fuzz
