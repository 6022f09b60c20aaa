#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "services/backupctl/commands.h"

namespace backup::ctl {
namespace {

// By the words of a command, each after a blank: what may come next.
using Words = std::map<std::string, std::vector<std::string>>;

void AddOptions(const CLI::App& app, std::vector<std::string>& words) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back(absl::StrCat("--", name));
    for (const std::string& name : option->get_snames()) words.push_back(absl::StrCat("-", name));
  }
}

void AddWords(const CLI::App& root, const CLI::App& app, const std::string& place, Words& words) {
  std::vector<std::string>& next = words[place];
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    next.push_back(command->get_name());
    AddWords(root, *command, absl::StrCat(place, " ", command->get_name()), words);
  }
  AddOptions(app, next);
  if (&app == &root) return;
  // Global options may stand behind the command too.
  std::vector<std::string> global;
  AddOptions(root, global);
  for (const std::string& option : global)
    if (std::find(next.begin(), next.end(), option) == next.end()) next.push_back(option);
}

// In each script @PLACES@ becomes the pattern of all commands, and @WORDS@ a case for each of them.
constexpr char kBash[] = R"sh(# bash completion of backupctl: source <(backupctl completion bash)
_backupctl() {
  local place="" words="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$place $word" in @PLACES@) place="$place $word" ;; esac
  done
  case "$place" in
@WORDS@
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}
complete -o default -F _backupctl backupctl
)sh";
constexpr char kZsh[] = R"sh(#compdef backupctl
# zsh completion of backupctl: source <(backupctl completion zsh)
_backupctl() {
  local place="" next="" word
  for word in "${(@)words[2,CURRENT-1]}"; do
    case "$place $word" in @PLACES@) place="$place $word" ;; esac
  done
  case "$place" in
@WORDS@
  esac
  compadd -- ${=next}
  _files
}
compdef _backupctl backupctl
)sh";
constexpr char kFish[] = R"sh(# fish completion of backupctl: backupctl completion fish | source
function __backupctl_words
  set -l place ""
  for word in (commandline -opc)[2..-1]
    if contains -- "$place $word" @PLACES@
      set place "$place $word"
    end
  end
  switch "$place"
@WORDS@
  end
end
complete -c backupctl -a '(__backupctl_words)'
)sh";

struct Shell {
  const char* script;
  const char* between_places;
  const char* case_format;  // $0 is the place, $1 the words.
};

const std::map<std::string, Shell>& Shells() {
  static const auto& shells = *new std::map<std::string, Shell>{
      {"bash", {kBash, " | ", "    \"$0\") words=\"$1\" ;;"}},
      {"zsh", {kZsh, " | ", "    \"$0\") next=\"$1\" ;;"}},
      {"fish", {kFish, " ", "    case \"$0\"\n      string split ' ' -- \"$1\""}}};
  return shells;
}

std::string Script(const Shell& shell, const Words& words) {
  std::vector<std::string> places;
  std::vector<std::string> cases;
  for (const auto& [place, next] : words) {
    if (!place.empty()) places.push_back(absl::StrCat("\"", place, "\""));
    cases.push_back(
        absl::StrReplaceAll(shell.case_format, {{"$0", place}, {"$1", absl::StrJoin(next, " ")}}));
  }
  return absl::StrReplaceAll(shell.script,
                             {{"@PLACES@", absl::StrJoin(places, shell.between_places)},
                              {"@WORDS@", absl::StrJoin(cases, "\n")}});
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Command& chosen) {
  CLI::App& completion =
      *app.add_subcommand("completion", "Print a shell's completion script of this program");
  const auto shell = std::make_shared<std::string>();
  completion.add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->type_name("")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
  completion.callback([&app, &chosen, shell] {
    chosen = [&app, shell](Connection&, Output& output) {
      Words words;
      AddWords(app, app, "", words);
      output.Text(Script(Shells().at(*shell), words));
      return ExitCode::kOk;
    };
  });
}

}  // namespace backup::ctl
