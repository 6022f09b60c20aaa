// A command line, an environment and a file of flags, whatever is in them: settings, or one line
// that says what is wrong; never the end of the process, as long as nobody asks for help. And no
// secret is shown.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/config.h"
#include "base/unique_fd.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

DEFINE_string(try_text, "default text", "a text");
DEFINE_int32(try_number, 1, "a number above 0");
DEFINE_uint64(try_size, 1, "a size");
DEFINE_bool(try_switch, true, "a switch");
DEFINE_string(try_secret, "", "a secret");
DEFINE_validator(try_number,
                 [](const char*, int32_t value) { return value > 0 || backup::MustBe("above 0"); });

namespace backup::fuzz {
namespace {

// How an input names what is in it; the last is for all else.
constexpr absl::string_view kBeginnings[] = {
    "--try_text=",   "--try_number=", "--try-size=", "--notry_switch",
    "--try_secret=", "--try_switch=", "--try_text",  "--"};
constexpr absl::string_view kVariables[] = {
    "BACKUP_TRY_TEXT=", "BACKUP_TRY_NUMBER=", "BACKUP_TRY_SECRET=", "BACKUP_", "HOME="};

// Whether it asks for what ends the process, if that is on the command line, or for files that are
// not ours.
bool AsksForMore(absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(text);
  return absl::StrContains(lower, "help") || absl::StrContains(lower, "version") ||
         absl::StrContains(lower, "fromenv") || absl::StrContains(lower, "flagfile") ||
         absl::StrContains(lower, "undefok") || absl::StrContains(lower, "log_dir");
}

std::string TakeArgument(Input& input) {
  const absl::string_view beginning = kBeginnings[input.Below(std::size(kBeginnings))];
  std::string text = absl::StrCat(beginning, input.Text(60));
  // As argv has it.
  text = text.substr(0, text.find('\0'));
  const bool completes =
      absl::StrContains(absl::StrReplaceAll(text, {{"-", "_"}}), "tab_completion");
  return completes || AsksForMore(text) ? "--try_text=more" : text;
}

std::vector<std::string> TakeEnvironment(Input& input) {
  std::vector<std::string> environment;
  for (size_t left = input.Below(4); left > 0; --left) {
    const absl::string_view variable = kVariables[input.Below(std::size(kVariables))];
    const std::string text = absl::StrCat(variable, input.Text(60));
    if (!AsksForMore(text)) environment.push_back(text);
  }
  return environment;
}

std::string TakeFile(Input& input) {
  std::string text;
  for (size_t left = input.Below(6); left > 0; --left)
    absl::StrAppend(&text, input.Flag() ? TakeArgument(input) : std::string(input.Text(60)), "\n");
  return AsksForMore(text) ? "" : text;
}

void CheckSettings(const std::vector<Setting>& settings) {
  CHECK(std::is_sorted(settings.begin(), settings.end(),
                       [](const Setting& a, const Setting& b) { return a.flag < b.flag; }));
  CHECK_GT(FLAGS_try_number, 0);
  const std::string text = ConfigurationText(settings);
  CHECK(absl::StrContains(text, absl::StrCat("--try_text=", FLAGS_try_text, "  (")));
  CHECK(absl::StrContains(
      text, FLAGS_try_secret.empty() ? "--try_secret=  (" : "--try_secret=(not shown)  ("));
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  const gflags::FlagSaver saver;
  const std::vector<std::string> environment = TakeEnvironment(input);
  const std::string file_text = TakeFile(input);
  const UniqueFd file(::memfd_create("flags", MFD_CLOEXEC));
  CHECK_EQ(::write(file.get(), file_text.data(), file_text.size()), std::ssize(file_text));
  std::vector<std::string> args = {"program"};
  if (!file_text.empty()) args.push_back(absl::StrCat("--flagfile=/proc/self/fd/", file.get()));
  while (!input.AtEnd() && args.size() < 8) args.push_back(TakeArgument(input));
  std::vector<char*> pointers;
  for (std::string& arg : args) pointers.push_back(arg.data());
  pointers.push_back(nullptr);
  int argc = static_cast<int>(args.size());
  char** argv = pointers.data();
  const auto settings = LoadConfiguration({"program", __FILE__}, argc, argv, environment);
  CHECK_LE(argc, std::ssize(args));
  if (settings.ok()) return CheckSettings(*settings);
  CHECK(absl::IsInvalidArgument(settings.status()));
  CHECK(!settings.status().message().empty());
}

}  // namespace backup::fuzz
