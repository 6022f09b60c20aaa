// What a glob of backupctl matches is what the pattern of a policy matches, where a character is a
// byte; and nothing makes it slow or end the program.

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "base/name_text.h"
#include "glog/logging.h"
#include "services/backup/retention/name_pattern.h"
#include "services/backupctl/glob.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

bool HasOneByteCharacters(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isprint(c) && c != '%'; });
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  const std::string name(input.Text(64));
  const std::string text(input.Rest());
  const auto glob = ctl::Glob::Parse(text);
  if (glob.ok()) {
    CHECK(glob->text() == text && glob->Matches(text));
    (void)glob->Matches(NameToText(name));
  }
  if (text.size() > retention::NamePattern::kMaxSize || !HasOneByteCharacters(text) ||
      !HasOneByteCharacters(name))
    return;
  const auto pattern = retention::NamePattern::Parse("pattern", text);
  CHECK_EQ(glob.ok(), pattern.ok()) << text << ": " << glob.status() << ", " << pattern.status();
  if (glob.ok()) CHECK_EQ(glob->Matches(name), pattern->Matches(name)) << text << " and " << name;
}

}  // namespace backup::fuzz
