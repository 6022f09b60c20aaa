#include "base/config.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/exit_code.h"
#include "base/flag_help.h"
#include "base/status_macros.h"
#include "gflags/gflags.h"

DECLARE_bool(help);
DECLARE_bool(helpfull);
DECLARE_bool(helpshort);
DEFINE_bool(print_config, false, "print each flag's value and what set it, and end");
DEFINE_bool(check_config, false, "check the configuration and end: 0 if it is good, else 10");

// Exported by gflags, but in no header of it.
namespace google {
extern void (*gflags_exitfunc)(int);
}

namespace backup {
namespace {

constexpr char kPrefix[] = "BACKUP_";
// Flags that steer the parsing itself, or end the process: not to be set from elsewhere.
constexpr absl::string_view kParserFlags[] = {"flagfile",
                                              "fromenv",
                                              "help",
                                              "helpfull",
                                              "helpmatch",
                                              "helpon",
                                              "helpshort",
                                              "helppackage",
                                              "helpxml",
                                              "tab_completion_columns",
                                              "tab_completion_word",
                                              "tryfromenv",
                                              "undefok",
                                              "version"};

constexpr char kHelpNotes[] =
    "Each flag may also stand in the file of --flagfile=PATH, or in the environment as "
    "BACKUP_<FLAG>.\nThe command line wins over the environment, that over the file. --helpfull "
    "also tells the\nflags of libraries, such as --vmodule.";

using Sources = std::map<std::string, std::string>;

bool IsParserFlag(absl::string_view name) {
  return std::find(std::begin(kParserFlags), std::end(kParserFlags), name) !=
         std::end(kParserFlags);
}

// Keys and certificates come in files, of which a flag's value is only the path.
bool MayBeSecret(absl::string_view flag) {
  for (const absl::string_view end : {"password", "secret", "token"}) {
    if (absl::EndsWith(flag, end)) return true;
  }
  return false;
}

// One flag as it is written: --name, --noname, --name=value.
struct Written {
  std::string name;
  std::optional<std::string> value;
};

// Nothing if `text` names no flag of this program.
std::optional<Written> ReadFlag(absl::string_view text) {
  absl::ConsumePrefix(&text, "-");
  absl::ConsumePrefix(&text, "-");
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('=', 1));
  const bool has_value = absl::StrContains(text, "=");
  std::string name = absl::StrReplaceAll(parts.first, {{"-", "_"}});
  gflags::CommandLineFlagInfo info;
  if (gflags::GetCommandLineFlagInfo(name.c_str(), &info)) {
    if (has_value) return Written{name, std::string(parts.second)};
    if (info.type == "bool") return Written{name, "true"};
    return Written{name, std::nullopt};
  }
  if (has_value || !absl::StartsWith(name, "no")) return std::nullopt;
  name = name.substr(2);
  if (!gflags::GetCommandLineFlagInfo(name.c_str(), &info) || info.type != "bool")
    return std::nullopt;
  return Written{name, "false"};
}

// What the command line sets, without setting it: its flags, and the values of --flagfile, which
// are taken out of `args`.
struct CommandLine {
  std::vector<Written> flags;
  std::vector<std::string> files;
  std::string wrong;  // What is no flag of this program, if anything.
};

CommandLine ScanCommandLine(std::vector<char*>& args) {
  CommandLine found;
  std::vector<char*> kept = {args.front()};
  for (size_t i = 1; i < args.size(); ++i) {
    const absl::string_view text = args[i];
    if (text == "--") {
      kept.insert(kept.end(), args.begin() + static_cast<ptrdiff_t>(i), args.end());
      break;
    }
    const bool is_flag = absl::StartsWith(text, "-") && text != "-";
    std::optional<Written> flag = is_flag ? ReadFlag(text) : std::nullopt;
    if (is_flag && !flag) found.wrong = absl::StrCat("there is no flag ", text);
    const size_t size_before = kept.size();
    kept.push_back(args[i]);
    if (!flag) continue;
    if (!flag->value) {
      if (i + 1 == args.size()) {
        found.wrong = absl::StrCat(text, " needs a value");
        break;
      }
      flag->value = args[++i];
      kept.push_back(args[i]);
    }
    if (flag->name != "flagfile") {
      found.flags.push_back(*std::move(flag));
      continue;
    }
    kept.resize(size_before);
    for (const absl::string_view path : absl::StrSplit(*flag->value, ',', absl::SkipEmpty()))
      found.files.emplace_back(path);
  }
  args = std::move(kept);
  return found;
}

// What the validator asked last wants.
std::string& WantedValue() {
  static std::string& wanted = *new std::string;
  return wanted;
}

// What a value of a flag's type must be at least.
std::string WantedOfType(const std::string& name) {
  const std::string type = gflags::GetCommandLineFlagInfoOrDie(name.c_str()).type;
  if (type == "bool") return "true or false";
  return type == "string" ? "another text" : "a whole number";
}

absl::Status SetFlag(const std::string& name, const std::string& value, const std::string& source,
                     Sources& sources) {
  WantedValue() = WantedOfType(name);
  if (gflags::SetCommandLineOption(name.c_str(), value.c_str()).empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        source, ": ", MayBeSecret(name) ? "the value given" : absl::StrCat("\"", value, "\""),
        " is no value for --", name, ": it must be ", WantedValue()));
  }
  sources[name] = source;
  return absl::OkStatus();
}

absl::Status SetFromCommandLine(const CommandLine& line, Sources& sources) {
  for (const Written& flag : line.flags) FLAGS_check_config |= flag.name == "check_config";
  if (!line.wrong.empty())
    return UsageError(absl::StrCat("command line: ", line.wrong, " (--help lists the flags)"));
  for (const Written& flag : line.flags) {
    if (IsParserFlag(flag.name)) continue;
    const absl::Status set = SetFlag(flag.name, *flag.value, "command line", sources);
    if (!set.ok()) return UsageError(set.message());
    sources[flag.name] = "flag";
  }
  return absl::OkStatus();
}

absl::Status ReadFlagFile(const std::string& path, Sources& sources) {
  std::ifstream file(path);
  std::string text;
  int number = 0;
  for (; std::getline(file, text); ++number) {
    const absl::string_view line = absl::StripAsciiWhitespace(text);
    if (line.empty() || line.front() == '#') continue;
    const std::string source = absl::StrCat("file ", path, ":", number + 1);
    const std::optional<Written> flag = absl::StartsWith(line, "-") ? ReadFlag(line) : std::nullopt;
    if (!flag || !flag->value || IsParserFlag(flag->name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          source, ": expected --FLAG=VALUE with a flag of this program (--help lists them)"));
    }
    RETURN_IF_ERROR(SetFlag(flag->name, *flag->value, source, sources));
  }
  if (!file.eof()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the file ", path, " of --flagfile: is it there and readable?"));
  }
  return absl::OkStatus();
}

absl::Status ReadEnvironment(const ProgramText& program,
                             const std::vector<std::string>& environment, Sources& sources) {
  for (const std::string& text : environment) {
    const std::pair<std::string, std::string> variable =
        absl::StrSplit(text, absl::MaxSplits('=', 1));
    const std::string& name = variable.first;
    if (!absl::StartsWith(name, kPrefix) || name == absl::StrCat(kPrefix, "FLAGFILE")) continue;
    // As gflags takes names.
    const std::string flag =
        absl::StrReplaceAll(absl::AsciiStrToLower(absl::StripPrefix(name, kPrefix)), {{"-", "_"}});
    gflags::CommandLineFlagInfo info;
    if (!gflags::GetCommandLineFlagInfo(flag.c_str(), &info) || IsParserFlag(flag)) {
      if (std::count(program.foreign_variables.begin(), program.foreign_variables.end(), name) > 0)
        continue;
      return absl::InvalidArgumentError(absl::StrCat("environment ", name, ": there is no flag --",
                                                     flag,
                                                     " (--help lists them): correct or unset it"));
    }
    RETURN_IF_ERROR(SetFlag(flag, variable.second, absl::StrCat("environment ", name), sources));
  }
  return absl::OkStatus();
}

// The files to read: those of the command line, else those of BACKUP_FLAGFILE.
std::vector<std::string> FlagFiles(const CommandLine& line,
                                   const std::vector<std::string>& environment) {
  if (!line.files.empty()) return line.files;
  for (absl::string_view text : environment) {
    if (absl::ConsumePrefix(&text, absl::StrCat(kPrefix, "FLAGFILE=")))
      return absl::StrSplit(text, ',', absl::SkipEmpty());
  }
  return {};
}

// gflags ends the process with 1 for a wrong --fromenv as for --helpfull; with 0 for --version.
void EndForFlags(int code) {
  const bool asked_for_help = FLAGS_helpfull || FLAGS_helpshort;
  std::exit(code == 0 || asked_for_help ? 0 : kExitUsage);
}

std::vector<gflags::CommandLineFlagInfo> FlagsOf(const ProgramText& program) {
  return FlagsOfFiles({program.main_file, __FILE__});
}

std::vector<Setting> SettingsOf(const ProgramText& program, const Sources& sources) {
  std::vector<Setting> settings;
  std::set<std::string> own;
  for (const gflags::CommandLineFlagInfo& flag : FlagsOf(program)) own.insert(flag.name);
  std::vector<gflags::CommandLineFlagInfo> all;
  gflags::GetAllFlags(&all);
  for (const gflags::CommandLineFlagInfo& flag : all) {
    const auto source = sources.find(flag.name);
    if (source == sources.end() && own.count(flag.name) == 0) continue;
    if (flag.name == "print_config" || flag.name == "check_config") continue;
    settings.push_back(
        {flag.name, flag.current_value, source == sources.end() ? "default" : source->second});
  }
  std::sort(settings.begin(), settings.end(),
            [](const Setting& a, const Setting& b) { return a.flag < b.flag; });
  return settings;
}

}  // namespace

absl::StatusOr<std::vector<Setting>> LoadConfiguration(
    const ProgramText& program, int& argc, char**& argv,
    const std::vector<std::string>& environment) {
  google::gflags_exitfunc = &EndForFlags;
  gflags::SetUsageMessage(program.usage);
  gflags::SetVersionString(BACKUP_VERSION);
  std::vector<char*> args(argv, argv + argc);
  const CommandLine line = ScanCommandLine(args);
  argc = static_cast<int>(args.size());
  std::copy(args.begin(), args.end(), argv);

  // From the least to the most: each overwrites what came before.
  Sources sources;
  for (const std::string& path : FlagFiles(line, environment))
    RETURN_IF_ERROR(ReadFlagFile(path, sources));
  RETURN_IF_ERROR(ReadEnvironment(program, environment, sources));
  RETURN_IF_ERROR(SetFromCommandLine(line, sources));
  gflags::ParseCommandLineNonHelpFlags(&argc, &argv, true);
  if (FLAGS_help) ShowHelp(program.usage, FlagsOf(program), kHelpNotes);
  gflags::HandleCommandLineHelpFlags();
  return SettingsOf(program, sources);
}

bool MustBe(absl::string_view what) {
  WantedValue() = std::string(what);
  return false;
}

absl::Status UsageError(absl::string_view why) {
  return WithExitCode(absl::InvalidArgumentError(why),
                      FLAGS_check_config ? kExitBadConfiguration : kExitUsage);
}

absl::Status UnknownArgument(absl::string_view argument) {
  return UsageError(absl::StrCat("command line: what is ", argument,
                                 "? flags begin with -- (--help tells more)"));
}

std::string ConfigurationText(const std::vector<Setting>& settings) {
  std::string text;
  for (const Setting& setting : settings) {
    const bool hide = MayBeSecret(setting.flag) && !setting.value.empty();
    absl::StrAppend(&text, "--", setting.flag, "=", hide ? "(not shown)" : setting.value, "  (",
                    setting.source, ")\n");
  }
  return text;
}

bool PrintConfigurationOnly() { return FLAGS_print_config; }
bool CheckConfigurationOnly() { return FLAGS_check_config; }

}  // namespace backup
