#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup {

// Exit codes of the daemons: docs/operations.md.
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadConfiguration = 10;

// A flag's value in effect, and what set it: "flag", "environment NAME", "file PATH:LINE" or
// "default".
struct Setting {
  std::string flag;
  std::string value;
  std::string source;
};

// A program as its --help shows it.
struct ProgramText {
  std::string usage;
  // __FILE__ of the file that defines the program's flags: --help shows these and no library's.
  std::string main_file;
  // Variables that begin with BACKUP_ but are another program's.
  std::vector<std::string> foreign_variables = {};
};

// Sets every flag from the command line, else from BACKUP_<FLAG> in `environment` (NAME=VALUE
// each), else from a file of --flagfile, else leaves its default. Takes the flags out of argv.
// Returns the settings of the program's own flags and of whatever is not at its default, by name.
//
// InvalidArgument, one line, for a wrong file and for a wrong or unknown variable. A wrong command
// line ends the process with kExitUsage (with --check_config: kExitBadConfiguration); --help and
// --version end it with 0.
absl::StatusOr<std::vector<Setting>> LoadConfiguration(const ProgramText& program, int& argc,
                                                       char**& argv,
                                                       const std::vector<std::string>& environment);

// One line a setting; what may be a secret is not shown.
std::string ConfigurationText(const std::vector<Setting>& settings);

// Whether --print_config, or --check_config was given.
bool PrintConfigurationOnly();
bool CheckConfigurationOnly();

}  // namespace backup
