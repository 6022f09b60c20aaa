// Names are data: as text they mean the same name and nothing else, and as paths they lead below
// the folder where they are restored, in components that the system takes.

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/name_text.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "glog/logging.h"
#include "services/backupctl/local_file.h"
#include "services/backupctl/safe_path.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using ctl::NameRules;

void CheckIsText(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Character character = FrontOfUtf8(text);
    CHECK(character.size > 0 && character.size <= text.size());
    CHECK(character.code_point >= 0x20 &&
          (character.code_point < 0x7F || character.code_point >= 0xA0));
    text.remove_prefix(character.size);
  }
}

void TryText(absl::string_view bytes, size_t width) {
  const std::string text = NameToText(bytes);
  CheckIsText(text);
  const std::string shown = Printable(text);
  CheckIsText(shown);
  CHECK(Printable(shown) == shown);
  if (!bytes.empty() && bytes.size() <= kMaxNameSize) {
    CHECK(*TextToName(text) == bytes);
    CHECK(*TextToName(shown) == bytes);
  }
  if (const auto name = TextToName(bytes); name.ok())
    CHECK(*TextToName(NameToText(*name)) == *name);
  CHECK_LE(DisplayWidth(FrontOfWidth(shown, width)), width);
  for (const Cut cut : {Cut::kEnd, Cut::kMiddle})
    CHECK_LE(DisplayWidth(FitToWidth(shown, width, cut)), width);
  (void)FitToWidth(bytes, width, Cut::kMiddle);
  CHECK(!absl::StrContains(Printable(bytes), '\n') && PrintableLines(bytes).size() >= bytes.size());
}

void CheckComponent(absl::string_view component, const NameRules& rules) {
  CHECK(!component.empty() && component != "." && component != "..");
  CHECK_LE(component.size(), rules.max_component_size);
  CHECK(component.find_first_of(absl::string_view("/\0", 2)) == absl::string_view::npos);
  CHECK(!ctl::IsPartName(component));
  CHECK(ctl::SafeComponent(component, rules) == component);
  if (!rules.portable) return;
  CheckIsText(component);
  CHECK(component.find_first_of("\\:*?\"<>|") == absl::string_view::npos);
  CHECK(component.back() != '.' && component.back() != ' ');
}

void CheckPath(absl::string_view path, const NameRules& rules) {
  for (const absl::string_view component : absl::StrSplit(path, '/'))
    CheckComponent(component, rules);
}

void TryPaths(absl::string_view name, int number, const NameRules& rules) {
  const std::vector<std::string> paths = ctl::SafePaths(name, rules);
  CHECK(!paths.empty() && paths.size() <= 2);
  for (const std::string& path : paths) CheckPath(path, rules);
  CheckComponent(paths.back(), rules);
  const std::string numbered = ctl::NumberedPath(paths.front(), number, rules);
  const size_t folder = paths.front().rfind('/') + 1;
  CHECK(numbered.substr(0, folder) == paths.front().substr(0, folder));
  CHECK(numbered != paths.front() && numbered.find('/', folder) == std::string::npos);
  CHECK(numbered.size() - folder <= rules.max_component_size);
  CheckComponent(ctl::SafeBaseName(name), NameRules());
  const std::string folded = ctl::FoldCase(paths.front());
  CHECK(ctl::FoldCase(folded) == folded);
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  NameRules rules;
  rules.portable = input.Flag();
  // The shortest that a file system of today has is 143 (eCryptfs).
  if (input.Flag()) rules.max_component_size = 143;
  const size_t width = 1 + input.Below(100);
  const int number = 1 + static_cast<int>(input.Uint(2));
  const absl::string_view name = input.Rest();
  TryText(name, width);
  if (!name.empty() && name.size() <= kMaxNameSize) TryPaths(name, number, rules);
}

}  // namespace backup::fuzz
